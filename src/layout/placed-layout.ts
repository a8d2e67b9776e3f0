import { type Box, boxKey, boxNumel } from "../core/box.ts";
import { type Dtype, isCastable } from "../core/dtype.ts";
import { HfStreamDcpError } from "../core/errors.ts";
import type { Layout, Shard } from "../core/layout.ts";
import { at, formatShape, type Shape, shapesEqual } from "../core/shape.ts";
import { layoutInvalid } from "./invalid.ts";
import type { FileMesh, FileRule, LayoutFile } from "./layout-file.ts";
import { assertPartition } from "./partition.ts";
import { placedBlocks } from "./placed-blocks.ts";

/** What {@link createPlacedLayout} needs. */
export interface PlacedLayoutOptions {
	/** What the file, or the folder, is called in messages. */
	readonly where: string;
	/** One, or what several ranks say, each of the meshes that it knows. At least one. */
	readonly files: readonly LayoutFile[];
	/** The tensors that are to be laid out. */
	readonly tensors: readonly {
		readonly fqn: string;
		readonly shape: Shape;
		/** What it is made in. */
		readonly dtype: Dtype;
	}[];
	/** Whether tensors are to be stored as the rules say, where they say it. */
	readonly keepsDtypes: boolean;
}

/** Names of one kind that a message shows before it only counts. */
const SHOWN = 12;

/**
 * The layout that files describe: in each, the first rule that fits a name counts; what several files say of a tensor is put together.
 *
 * @throws {HfStreamDcpError} `LAYOUT_INVALID` when the files speak of different jobs; `NAMES_UNRESOLVED`, with all of them, for tensors
 * without a rule, rules for a single name that is no tensor's, and shapes that differ. `shardsOf` throws `LAYOUT_INVALID` when a
 * tensor cannot be placed so.
 */
export function createPlacedLayout(options: PlacedLayoutOptions): Layout {
	const { where, files } = options;
	const { worldSize } = at(files, 0);
	const other = files.find((file) => file.worldSize !== worldSize);
	if (other !== undefined) {
		throw layoutInvalid(
			`${where}: some files are of a job of ${worldSize} ranks, others of one of ${other.worldSize}`,
			"Put only files of one job into the folder.",
			{ worldSizes: [worldSize, other.worldSize] },
		);
	}
	const rulesOf = rulesByName(files);
	assertNamesFit(options, rulesOf);
	const known = new Map<string, readonly Shard[]>();
	return {
		worldSize,
		description: describeFiles(files),
		dtypeOf: (fqn) => dtypeUnder(rulesOf(fqn)),
		shardsOf(fqn, shape) {
			const placed = rulesOf(fqn);
			const key = `${shape.join()} ${placed.map(({ id }) => id).join()}`;
			let shards = known.get(key);
			if (shards === undefined) {
				shards = Object.freeze(shardsUnder(fqn, shape, placed));
				assertPartition(
					fqn,
					shape,
					shards.map(({ box }) => box),
					where,
				);
				known.set(key, shards);
			}
			return shards;
		},
	};
}

/** A rule on its mesh. */
interface PlacedRule {
	readonly rule: FileRule;
	readonly mesh: FileMesh;
	/** The same for rules that place a tensor alike. */
	readonly id: string;
}

/** The rule of every file that has one for a name. */
function rulesByName(files: readonly LayoutFile[]): (fqn: string) => readonly PlacedRule[] {
	const finders = files.map((file, index) => {
		const exact = new Map<string, number>();
		const patterns: (readonly [RegExp, number])[] = [];
		for (const [position, { fqn }] of file.tensors.entries()) {
			if (isPattern(fqn)) patterns.push([compile(fqn), position]);
			else if (!exact.has(fqn)) exact.set(fqn, position);
		}
		return (fqn: string): PlacedRule | undefined => {
			const own = exact.get(fqn) ?? Number.POSITIVE_INFINITY;
			const [, first = own] =
				patterns.find(([regex, position]) => position < own && regex.test(fqn)) ?? [];
			const rule = file.tensors[first];
			const mesh = rule === undefined ? undefined : file.meshes[rule.mesh];
			if (rule === undefined || mesh === undefined) return undefined;
			return { rule, mesh, id: `${index}/${rule.mesh}/${JSON.stringify(rule.placements)}` };
		};
	});
	const known = new Map<string, readonly PlacedRule[]>();
	return (fqn) => {
		let found = known.get(fqn);
		if (found === undefined) {
			found = finders.flatMap((find) => find(fqn) ?? []);
			known.set(fqn, found);
		}
		return found;
	};
}

function dtypeUnder(rules: readonly PlacedRule[]): Dtype | undefined {
	return rules.find(({ rule }) => rule.dtype !== undefined)?.rule.dtype;
}

/** Every block once with all ranks that hold it, in the order of the first. */
function shardsUnder(fqn: string, shape: Shape, rules: readonly PlacedRule[]): Shard[] {
	const blocks = new Map<string, { readonly box: Box; readonly ranks: Set<number> }>();
	for (const { rule, mesh } of rules) {
		const boxes = placedBlocks({
			fqn,
			shape,
			meshSizes: mesh.shape,
			placements: rule.placements,
		});
		for (const [index, rank] of mesh.ranks.entries()) {
			const box = at(boxes, index % boxes.length);
			if (boxNumel(box) === 0) continue;
			const key = boxKey(box);
			const block = blocks.get(key);
			if (block === undefined) blocks.set(key, { box, ranks: new Set([rank]) });
			else block.ranks.add(rank);
		}
	}
	return [...blocks.values()]
		.map(({ box, ranks }) => ({ box, ranks: [...ranks].toSorted((a, b) => a - b) }))
		.toSorted((a, b) => at(a.ranks, 0) - at(b.ranks, 0));
}

function assertNamesFit(
	{ where, files, tensors, keepsDtypes }: PlacedLayoutOptions,
	rulesOf: (fqn: string) => readonly PlacedRule[],
): void {
	const fqns = new Set(tensors.map(({ fqn }) => fqn));
	const named = files.flatMap((file) => file.tensors.map(({ fqn }) => fqn));
	const unplaced = tensors.filter(({ fqn }) => rulesOf(fqn).length === 0).map(({ fqn }) => fqn);
	const unmade = [...new Set(named)].filter((fqn) => !isPattern(fqn) && !fqns.has(fqn));
	const misshapen = tensors.flatMap(({ fqn, shape }) => {
		const rule = rulesOf(fqn).find((one) => one.rule.shape !== undefined)?.rule;
		if (rule?.shape === undefined || shapesEqual(rule.shape, shape)) return [];
		return [`${fqn} is ${formatShape(rule.shape)} there, ${formatShape(shape)} from the source`];
	});
	const uncastable = tensors.flatMap(({ fqn, dtype }) => {
		const wanted = keepsDtypes ? dtypeUnder(rulesOf(fqn)) : undefined;
		if (wanted === undefined || isCastable(dtype, wanted)) return [];
		return [`${fqn} is ${wanted} there, ${dtype} from the source`];
	});
	const lines = [
		...section("tensors without a rule", unplaced),
		...section("rules for tensors that the model does not have", unmade),
		...section("shapes that differ", misshapen),
		...section("dtypes between which there is no cast", uncastable),
	];
	if (lines.length === 0) return;
	throw new HfStreamDcpError("NAMES_UNRESOLVED", [`${where}:`, ...lines].join("\n"), {
		hint: 'Nothing was fetched. Check that --target spells the names as the trainer does; a last rule "**" places all that is left.',
		facts: { unplaced, unmade, misshapen, uncastable },
	});
}

function section(title: string, lines: readonly string[]): readonly string[] {
	if (lines.length === 0) return [];
	const shown = lines.slice(0, SHOWN).map((line) => `    ${line}`);
	const hidden = lines.length - shown.length;
	if (hidden > 0) shown.push(`    … and ${hidden} more`);
	return [`  ${title} (${lines.length}):`, ...shown];
}

function isPattern(fqn: string): boolean {
	return fqn.includes("*");
}

/** `*` stands for any part of a segment, `**` for any text. */
function compile(pattern: string): RegExp {
	const body = pattern
		.split(/(\*+)/)
		.map((part) => {
			if (part === "") return "";
			if (part === "*") return "[^.]*";
			return /^\*+$/.test(part) ? ".*" : part.replaceAll(/[\\^$.+?()[\]{}|]/g, String.raw`\$&`);
		})
		.join("");
	return new RegExp(`^${body}$`);
}

/** `dp_shard 4 × tp 2, efsdp 2 × ep 4 (8 ranks)`: every mesh of more than one rank once. */
function describeFiles(files: readonly LayoutFile[]): string {
	const { worldSize } = at(files, 0);
	const meshes = new Set(
		files.flatMap((file) =>
			Object.values(file.meshes).flatMap(({ dims, shape }) => {
				const axes = dims.flatMap((dim, axis) =>
					at(shape, axis) > 1 ? [`${dim} ${at(shape, axis)}`] : [],
				);
				return axes.length === 0 ? [] : [axes.join(" × ")];
			}),
		),
	);
	const ranks = worldSize === 1 ? "1 rank" : `${worldSize} ranks`;
	return meshes.size === 0 ? ranks : `${[...meshes].join(", ")} (${ranks})`;
}
