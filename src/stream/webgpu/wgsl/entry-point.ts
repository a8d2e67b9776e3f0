import { DIM_FIELDS, DIM_WORDS, GROUP_THREADS, JOB_FIELDS } from "../job-table.ts";
import { param } from "./addressing.ts";

/** How a kernel makes its words. */
export interface WordKind {
	/** Units in a word. */
	readonly perWord: 1 | 2 | 4;
	/** Whether a unit is what lies in the source: a word within a run is then loaded at once. */
	readonly isMove: boolean;
}

/** The entry point: one thread makes one word of one block. It needs `unit_of(job, place) -> u32`. */
export function entryPoint(kind: WordKind): string {
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
	let dims = all_dims(job);
	let first = Place(
		table[job + ${JOB_FIELDS.source}u],
		table[job + ${JOB_FIELDS.target}u],
		table[job + ${JOB_FIELDS.scale}u],
	);
	let start = walk(job, 0u, outer, block, first);
	let word = start.unit / ${kind.perWord}u + (thread - block * block_words);
${kind.perWord === 1 ? STORE_UNIT : storeUnits(kind)}}
`;
}

const STORE_UNIT = `	let place = walk(job, outer, dims, word - start.unit, start);
	made[${param("targetWord")} + word] = unit_of(job, place);
`;

/**
 * Units of a word follow one another along the innermost loop, so that places are divided out once for each of its rows. A unit before
 * the block wraps around to an index far behind it.
 */
function storeUnits({ perWord, isMove }: WordKind): string {
	const runs = isMove ? loadRun(perWord) : "";
	const bits = 32 / perWord;
	const mask = `0x${"f".repeat(bits / 4)}u`;
	return `	let block_units = table[job + ${JOB_FIELDS.blockUnits}u];
	let inner = job + ${JOB_FIELDS.dims}u + (dims - 1u) * ${DIM_WORDS}u;
	let row_units = select(1u, table[inner + ${DIM_FIELDS.size}u], outer < dims);
	let source_step = table[inner + ${DIM_FIELDS.source}u];
	let scale_step = table[inner + ${DIM_FIELDS.scale}u];
	var column = row_units;
	var place = start;
	var bits = 0u;
	var filled = 0u;
	for (var i = 0u; i < ${perWord}u; i++) {
		let index = word * ${perWord}u + i - start.unit;
		if (index >= block_units) {
			continue;
		}
		if (column == row_units) {
			let row = index / row_units;
			column = index - row * row_units;
			place = walk(job, outer, dims - 1u, row, start);
			place.source += column * source_step;
			place.scale += column * scale_step;
${runs}		}
		bits |= unit_of(job, place) << (i * ${bits}u);
		filled |= ${mask} << (i * ${bits}u);
		column++;
		place.source += source_step;
		place.scale += scale_step;
	}
	let at = ${param("targetWord")} + word;
	if (filled == 0xffffffffu) {
		atomicStore(&made[at], bits);
	} else if (filled != 0u) {
		atomicOr(&made[at], bits);
	}
`;
}

/** All of a word may lie in one run of the source. */
function loadRun(perWord: number): string {
	return `			if (i == 0u && source_step == ${4 / perWord}u && column + ${perWord}u <= row_units) {
				bits = load32(place.source);
				filled = 0xffffffffu;
				break;
			}
`;
}
