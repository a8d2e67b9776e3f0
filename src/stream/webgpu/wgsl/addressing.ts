import {
	CODE_SHIFTS,
	DIM_FIELDS,
	DIM_WORDS,
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
