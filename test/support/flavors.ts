import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Shapes } from "./model-sources.ts";

/** A flavor of a model of torchtitan: what it says of itself, its keys and their shapes. */
export interface Flavor<F extends string = string> {
	readonly tree: "main" | "june";
	readonly family: F;
	readonly flavor: string;
	readonly n_keys: number;
	readonly n_layers: number;
	readonly config: {
		readonly dim: number;
		readonly vocab_size: number;
		readonly enable_weight_tying?: boolean;
	};
	readonly attention: { readonly n_heads: number } | null;
	readonly num_experts: number | null;
	/** `{}` in a key stands for each of the layers `0-2,5`. */
	readonly keys: readonly {
		readonly key: string;
		readonly shape: readonly number[];
		readonly layers: string | null;
	}[];
}

/** The flavors in one of the adapters' fixtures. */
export function readFlavors<F extends string>(file: string): readonly Flavor<F>[] {
	const path = join(import.meta.dirname, `../fixtures/torchtitan-adapters/${file}`);
	return JSON.parse(readFileSync(path, "utf8")) as readonly Flavor<F>[];
}

/** `0-2,5` → 0, 1, 2, 5. */
export function layersOf(text: string): number[] {
	return text.split(",").flatMap((part) => {
		const [first, last = first] = part.split("-").map(Number);
		return Array.from({ length: last! - first! + 1 }, (_, i) => first! + i);
	});
}

/** Every key of the flavor and its shape. */
export function expectedKeys(flavor: Flavor): Shapes {
	return Object.fromEntries(
		flavor.keys.flatMap(({ key, shape, layers }) =>
			layers === null
				? [[key, shape] as const]
				: layersOf(layers).map((layer) => [key.replace("{}", String(layer)), shape] as const),
		),
	);
}

/** Size of one dimension of the first key that ends so; 0 when the flavor has none. */
export function sizeAt(flavor: Flavor, suffix: RegExp, axis: number): number {
	return flavor.keys.find(({ key }) => suffix.test(key))?.shape[axis] ?? 0;
}

/** The layers that have a key that ends so. */
export function layersWith(flavor: Flavor, suffix: RegExp): ReadonlySet<number> {
	return new Set(
		flavor.keys.flatMap(({ key, layers }) => (suffix.test(key) ? layersOf(layers ?? "") : [])),
	);
}
