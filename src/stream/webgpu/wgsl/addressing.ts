import {
	CODE_SHIFTS,
	DIM_FIELDS,
	DIM_WORDS,
	GROUP_THREADS,
	JOB_FIELDS,
	JOB_WORDS,
	PARAM_FIELDS,
	PARAM_WORDS,
} from "../job-table.ts";

/**
 * The buffers of a kernel.
 *
 * @param isAtomic - Whether threads may share a word of the target.
 */
export function bindings(isAtomic: boolean): string {
	return `@group(0) @binding(0) var<storage, read> staged : array<u32>;
@group(0) @binding(1) var<storage, read_write> made : array<${isAtomic ? "atomic<u32>" : "u32"}>;
@group(0) @binding(2) var<storage, read> table : array<u32>;
@group(0) @binding(3) var<uniform> params : array<vec4<u32>, ${PARAM_WORDS / 4}>;
`;
}

/** How a thread finds its job, and a unit of it its places: the job is searched by its first workgroup. */
export const ADDRESSING: string = `struct Place {
	source : u32,
	unit : u32,
	scale : u32,
}

fn find_job(group : u32) -> u32 {
	let first = ${param("table")};
	var low = 0u;
	var high = ${param("jobCount")};
	while (high - low > 1u) {
		let middle = (low + high) / 2u;
		if (table[first + middle * ${JOB_WORDS}u + ${JOB_FIELDS.firstGroup}u] <= group) {
			low = middle;
		} else {
			high = middle;
		}
	}
	return first + low * ${JOB_WORDS}u;
}

fn code_of(job : u32, shift : u32) -> u32 {
	return (table[job + ${JOB_FIELDS.codes}u] >> shift) & 0xffu;
}

fn outer_dims(job : u32) -> u32 {
	return (table[job + ${JOB_FIELDS.codes}u] >> ${CODE_SHIFTS.outerDims}u) & 0xfu;
}

fn all_dims(job : u32) -> u32 {
	return (table[job + ${JOB_FIELDS.codes}u] >> ${CODE_SHIFTS.dims}u) & 0xfu;
}

fn walk(job : u32, first_dim : u32, end_dim : u32, index : u32, start : Place) -> Place {
	var place = start;
	var rest = index;
	for (var d = end_dim; d > first_dim; d--) {
		let dim = job + ${JOB_FIELDS.dims}u + (d - 1u) * ${DIM_WORDS}u;
		let size = table[dim + ${DIM_FIELDS.size}u];
		let quotient = rest / size;
		let i = rest - quotient * size;
		rest = quotient;
		place.source += i * table[dim + ${DIM_FIELDS.source}u];
		place.unit += i * table[dim + ${DIM_FIELDS.target}u];
		place.scale += i * table[dim + ${DIM_FIELDS.scale}u];
	}
	return place;
}
`;

/**
 * A parameter of the dispatch, as an expression.
 *
 * @param field - Its name.
 */
export function param(field: keyof typeof PARAM_FIELDS): string {
	const word = PARAM_FIELDS[field];
	return `params[${Math.floor(word / 4)}].${"xyzw"[word % 4]}`;
}

/**
 * The entry point: one thread makes one word of one block. It needs `unit_of(job, place) -> u32`.
 *
 * @param perWord - Units in a word.
 */
export function entryPoint(perWord: 1 | 2 | 4): string {
	return `@compute @workgroup_size(${GROUP_THREADS})
fn main(@builtin(workgroup_id) workgroup : vec3<u32>, @builtin(local_invocation_index) lane : u32) {
	let group = workgroup.y * ${param("gridWidth")} + workgroup.x;
	if (group >= ${param("groupCount")}) {
		return;
	}
	let job = find_job(group);
	let thread = (group - table[job + ${JOB_FIELDS.firstGroup}u]) * ${GROUP_THREADS}u + lane;
	if (thread >= table[job + ${JOB_FIELDS.threads}u]) {
		return;
	}
	let block_words = table[job + ${JOB_FIELDS.blockWords}u];
	let block = thread / block_words;
	let outer = outer_dims(job);
	let first = Place(
		table[job + ${JOB_FIELDS.source}u],
		table[job + ${JOB_FIELDS.target}u],
		table[job + ${JOB_FIELDS.scale}u],
	);
	let start = walk(job, 0u, outer, block, first);
	let word = start.unit / ${perWord}u + (thread - block * block_words);
${perWord === 1 ? STORE_UNIT : storeUnits(perWord)}}
`;
}

const STORE_UNIT = `	let place = walk(job, outer, all_dims(job), word - start.unit, start);
	made[${param("targetWord")} + word] = unit_of(job, place);
`;

/** A unit before the block wraps around to an index far behind it. */
function storeUnits(perWord: 2 | 4): string {
	const bits = 32 / perWord;
	const mask = `0x${"f".repeat(bits / 4)}u`;
	return `	let inner_end = all_dims(job);
	let block_units = table[job + ${JOB_FIELDS.blockUnits}u];
	var bits = 0u;
	var filled = 0u;
	for (var i = 0u; i < ${perWord}u; i++) {
		let index = word * ${perWord}u + i - start.unit;
		if (index < block_units) {
			let place = walk(job, outer, inner_end, index, start);
			bits |= unit_of(job, place) << (i * ${bits}u);
			filled |= ${mask} << (i * ${bits}u);
		}
	}
	let at = ${param("targetWord")} + word;
	if (filled == 0xffffffffu) {
		atomicStore(&made[at], bits);
	} else if (filled != 0u) {
		atomicOr(&made[at], bits);
	}
`;
}
