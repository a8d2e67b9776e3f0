import type { ReshardOp } from "../../core/ports.ts";
import { at } from "../../core/shape.ts";
import { type JobDim, type JobShape, jobShapeOf } from "./job-shape.ts";
import {
	DIM_FIELDS,
	DIM_WORDS,
	GROUP_THREADS,
	JOB_FIELDS,
	JOB_WORDS,
	KERNELS,
	type KernelName,
	MAX_DIMS,
	packCodes,
	PARAM_FIELDS,
	PARAM_WORDS,
	UNITS_PER_WORD,
} from "./job-table.ts";

/** Workgroups along one axis of a grid that every device takes. */
const MAX_GRID_WIDTH = 65_535;

/** Loops beyond {@link MAX_DIMS} become so many jobs at most. */
const MAX_JOBS_PER_OP = 1024;

/** Places, and what is counted on the way to them, fit into 32 bits; a little is left for the word behind the last place. */
const END_OF_PLACES = 2 ** 32 - 64;

/** One dispatch: jobs of one kernel that follow one another in the table. */
export interface Dispatch {
	readonly kernel: KernelName;
	readonly firstJob: number;
	readonly jobCount: number;
	readonly groupCount: number;
	/** The grid of workgroups: what `dispatchWorkgroups` is told. Holds at least `groupCount`. */
	readonly x: number;
	readonly y: number;
}

/** Ops made ready for the kernels. */
export interface EncodedJobs {
	/** Jobs in the table, {@link JOB_WORDS} words each. */
	readonly jobs: number;
	/** In any order. */
	readonly dispatches: readonly Dispatch[];
	/**
	 * Whether kernels make less than whole words of the target, which are joined by OR: then all of its words must be 0 before
	 * the dispatches.
	 */
	readonly clear: boolean;
	/** Ops that no kernel takes, or that the table had no room for. */
	readonly rest: readonly ReshardOp[];
}

/**
 * Writes the jobs of ops into a table: what the kernels of `wgsl/` read.
 *
 * Target places count from the first byte of the ops' target, which lies on a word. Bytes of the target that no op makes come out as 0
 * or undefined.
 *
 * @param table - Memory for {@link JOB_WORDS} words per job; what it held does not matter.
 */
export function encodeJobs(ops: readonly ReshardOp[], table: Uint32Array): EncodedJobs {
	const rest: ReshardOp[] = [];
	const byKernel = new Map<KernelName, Job[]>();
	let room = Math.floor(table.length / JOB_WORDS);
	for (const op of ops) {
		if (op.piece.dims.some((dim) => dim.size === 0)) continue;
		const shape = jobShapeOf(op);
		const jobs = shape === undefined ? undefined : jobsOf(shape);
		if (shape === undefined || jobs === undefined || jobs.length > room) {
			rest.push(op);
			continue;
		}
		room -= jobs.length;
		const listed = byKernel.get(shape.kernel) ?? [];
		listed.push(...jobs);
		byKernel.set(shape.kernel, listed);
	}
	const dispatches: Dispatch[] = [];
	let [count, clear] = [0, false];
	for (const kernel of KERNELS) {
		const jobs = byKernel.get(kernel);
		if (jobs === undefined) continue;
		dispatches.push(writeJobs(kernel, jobs, count, table));
		count += jobs.length;
		clear ||= jobs.some((job) => job.isPartial);
	}
	return { jobs: count, dispatches, clear, rest };
}

/** Where a batch lies in its buffers. */
export interface DispatchBases {
	/** Byte of the source buffer that the ops call 0 of their staging memory; a multiple of 4. */
	readonly sourceBase: number;
	/** Word of the target buffer where the target of the ops begins. */
	readonly targetWord: number;
	/** Word of the table buffer where the batch's table begins. */
	readonly tableWord: number;
}

/** The uniform parameters of a dispatch, {@link PARAM_WORDS} words. */
export function dispatchParams(dispatch: Dispatch, bases: DispatchBases): Uint32Array {
	const words = new Uint32Array(PARAM_WORDS);
	words[PARAM_FIELDS.table] = bases.tableWord + dispatch.firstJob * JOB_WORDS;
	words[PARAM_FIELDS.jobCount] = dispatch.jobCount;
	words[PARAM_FIELDS.groupCount] = dispatch.groupCount;
	words[PARAM_FIELDS.gridWidth] = dispatch.x;
	words[PARAM_FIELDS.sourceBase] = bases.sourceBase;
	words[PARAM_FIELDS.targetWord] = bases.targetWord;
	return words;
}

/** A job, and how its threads divide the target. */
interface Job {
	readonly shape: JobShape;
	readonly outerDims: number;
	readonly blockUnits: number;
	readonly blockWords: number;
	readonly threads: number;
	/** Whether a block may begin or end within a word. */
	readonly isPartial: boolean;
}

/** One job, or several where there are more loops than a job can hold; `undefined` when a place does not fit into 32 bits. */
function jobsOf(shape: JobShape): readonly Job[] | undefined {
	const surplus = Math.max(0, shape.dims.length - MAX_DIMS);
	const loops = shape.dims.slice(0, surplus);
	const count = loops.reduce((product, dim) => product * dim.size, 1);
	if (count > MAX_JOBS_PER_OP || !fits(shape)) return undefined;
	let shapes: readonly JobShape[] = [{ ...shape, dims: shape.dims.slice(surplus) }];
	for (const dim of loops) shapes = shapes.flatMap((whole) => stepsOf(whole, dim));
	return shapes.map(divide);
}

function stepsOf(shape: JobShape, dim: JobDim): JobShape[] {
	return Array.from({ length: dim.size }, (_, i) => ({
		...shape,
		source: shape.source + i * dim.source,
		target: shape.target + i * dim.target,
		scale: shape.scale + i * dim.scale,
	}));
}

function fits({ source, target, scale, dims }: JobShape): boolean {
	const places = { source, target, scale };
	// There are no more threads than units.
	let units = 1;
	for (const dim of dims) {
		places.source += (dim.size - 1) * dim.source;
		places.target += (dim.size - 1) * dim.target;
		places.scale += (dim.size - 1) * dim.scale;
		units *= dim.size;
	}
	return [...Object.values(places), units].every((value) => value < END_OF_PLACES);
}

function divide(shape: JobShape): Job {
	const { dims, target, kernel } = shape;
	const perWord = UNITS_PER_WORD[kernel];
	let blockUnits = 1;
	let outerDims = dims.length;
	for (; outerDims > 0; outerDims--) {
		const dim = at(dims, outerDims - 1);
		if (dim.target !== blockUnits) break;
		blockUnits *= dim.size;
	}
	const outer = dims.slice(0, outerDims);
	const isAligned = [target, ...outer.map((dim) => dim.target)].every((t) => t % perWord === 0);
	const blockWords = Math.ceil((blockUnits + (isAligned ? 0 : perWord - 1)) / perWord);
	const blocks = outer.reduce((product, dim) => product * dim.size, 1);
	return {
		shape,
		outerDims,
		blockUnits,
		blockWords,
		threads: blocks * blockWords,
		isPartial: !isAligned || blockUnits % perWord !== 0,
	};
}

function writeJobs(
	kernel: KernelName,
	jobs: readonly Job[],
	firstJob: number,
	table: Uint32Array,
): Dispatch {
	let groupCount = 0;
	for (const [index, job] of jobs.entries()) {
		const start = (firstJob + index) * JOB_WORDS;
		writeJob(job, groupCount, table.subarray(start, start + JOB_WORDS));
		groupCount += Math.ceil(job.threads / GROUP_THREADS);
	}
	// Rows of the same length: few workgroups of the last one have nothing to do.
	const y = Math.ceil(groupCount / MAX_GRID_WIDTH);
	const x = Math.ceil(groupCount / y);
	return { kernel, firstJob, jobCount: jobs.length, groupCount, x, y };
}

function writeJob(job: Job, firstGroup: number, record: Uint32Array): void {
	const { shape, outerDims } = job;
	const { dims, from, to } = shape;
	record.fill(0);
	record[JOB_FIELDS.firstGroup] = firstGroup;
	record[JOB_FIELDS.threads] = job.threads;
	record[JOB_FIELDS.source] = shape.source;
	record[JOB_FIELDS.target] = shape.target;
	record[JOB_FIELDS.scale] = shape.scale;
	record[JOB_FIELDS.blockWords] = job.blockWords;
	record[JOB_FIELDS.blockUnits] = job.blockUnits;
	const codes = { outerDims, dims: dims.length, from, scale: shape.scaleFormat, to };
	record[JOB_FIELDS.codes] = packCodes(codes);
	for (const [index, dim] of dims.entries()) {
		const start = JOB_FIELDS.dims + index * DIM_WORDS;
		record[start + DIM_FIELDS.size] = dim.size;
		record[start + DIM_FIELDS.source] = dim.source;
		record[start + DIM_FIELDS.target] = dim.target;
		record[start + DIM_FIELDS.scale] = dim.scale;
	}
}
