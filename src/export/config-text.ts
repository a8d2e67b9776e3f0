import { applyEdits, type JSONPath, modify, type Node, parseTree } from "jsonc-parser";
import type { Dtype } from "../core/dtype.ts";

/** What is changed in `config.json`. */
export interface ConfigChange {
	/** What the weights are now, where that is not what the model says. */
	readonly dtype?: Dtype | undefined;
	/** Whether it stops saying that the weights are quantised. */
	readonly dropsQuantisation: boolean;
}

/** Members that say how weights are quantised; Compressed Tensors has another name for it in old exports. */
const QUANTISATION: readonly string[] = ["quantization_config", "compression_config"];

/** What the dtype of the weights is called: since transformers 5, and before. */
const DTYPE: readonly string[] = ["dtype", "torch_dtype"];

/** Whether a change changes anything. */
export function changesConfig({ dtype, dropsQuantisation }: ConfigChange): boolean {
	return dtype !== undefined || dropsQuantisation;
}

/**
 * Changes `config.json`, and leaves everything else in it as it is written: transformers refuses a `7` where it wants `7.0`.
 *
 * @param text - Of the file.
 */
export function changeConfig(text: string, change: ConfigChange): string {
	const { dtype, dropsQuantisation } = change;
	const root = parseTree(text);
	const edits: (readonly [path: JSONPath, value: unknown])[] = [];
	let saysDtype = false;
	const visit = (node: Node, path: JSONPath): void => {
		for (const [name, value] of membersOf(node)) {
			const own = [...path, name];
			if (QUANTISATION.includes(name)) {
				if (dropsQuantisation) edits.push([own, undefined]);
			} else if (DTYPE.includes(name)) {
				saysDtype ||= path.length === 0;
				if (dtype !== undefined) edits.push([own, dtype]);
			} else if (name.endsWith("_config")) visit(value, own);
		}
	};
	if (root !== undefined) visit(root, []);
	if (dtype !== undefined && !saysDtype) edits.push([["torch_dtype"], dtype]);
	const formattingOptions = { insertSpaces: true, tabSize: 2, eol: "\n" };
	return edits.reduce(
		(changed, [path, value]) =>
			applyEdits(changed, modify(changed, path, value, { formattingOptions })),
		text,
	);
}

function membersOf(node: Node): (readonly [name: string, value: Node])[] {
	if (node.type !== "object") return [];
	return (node.children ?? []).flatMap(({ children: [name, value] = [] }) =>
		name === undefined || value === undefined ? [] : [[String(name.value), value] as const],
	);
}

/** A configuration of which only the values are known, not how they were written: a float that is a whole number is one without a point. */
export function writeConfig(config: unknown): string {
	return `${JSON.stringify(config, undefined, 2)}\n`;
}
