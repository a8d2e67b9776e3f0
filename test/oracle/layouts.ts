import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";

/** A mesh setting torchtitan was run with, and the model it is tried on. */
export interface LayoutCase {
	/** The kind of mesh, for people. */
	readonly setting: string;
	/** Model of `make_models.py`. */
	readonly model: string;
	/** File of test/fixtures/torchtitan-layouts, without its ending. */
	readonly layout: string;
	readonly target: string;
	/** Which release's names the expected state dict has. */
	readonly names: "june" | "main";
	/** Layers of the model, where it has fewer than the layout. */
	readonly layers?: number;
}

const JUNE = { target: "torchtitan@2026-06", names: "june" } as const;
const MAIN = { target: "torchtitan", names: "main" } as const;

function llama3(setting: string, layout: string): LayoutCase {
	return layout.startsWith("june")
		? { setting, model: "llama", layout, ...JUNE }
		: { setting, model: "llama", layout, ...MAIN };
}

/** The settings shown; every file name says its degrees. */
export const LAYOUT_CASES: readonly LayoutCase[] = [
	llama3("FSDP", "main__llama3__debugmodel__fsdp4"),
	llama3("HSDP", "main__llama3__debugmodel__hsdp2x2"),
	llama3("DDP", "main__llama3__debugmodel__ddp4"),
	llama3("TP", "main__llama3__debugmodel__tp4"),
	llama3("uneven FSDP", "main__llama3__debugmodel__fsdp3_uneven"),
	llama3("FSDP×TP", "june__llama3__debugmodel__fsdp2_tp2"),
	llama3("uneven FSDP×TP", "june__llama3__debugmodel__fsdp3_tp2_uneven"),
	llama3("HSDP×TP", "main__llama3__debugmodel__hsdp2x2_tp2"),
	llama3("FSDP×CP×TP", "main__llama3__debugmodel__spmd_fsdp2_cp2_tp2"),
	llama3("PP×FSDP×TP", "main__llama3__debugmodel__pp2_fsdp2_tp2"),
	llama3("PP×FSDP, interleaved", "main__llama3__debugmodel__pp2_interleaved_fsdp2"),
	llama3("PP×FSDP, zero bubble V", "main__llama3__debugmodel__pp2_zbv_fsdp2"),
	{ setting: "FSDP", model: "llama4", layout: "june__llama4__debugmodel__fsdp4", ...JUNE },
	{ setting: "FSDP×TP", model: "llama4", layout: "june__llama4__debugmodel__fsdp2_tp2", ...JUNE },
	{ setting: "FSDP×EP", model: "llama4", layout: "june__llama4__debugmodel__fsdp4_ep2", ...JUNE },
	{
		setting: "FSDP×TP×EP",
		model: "llama4",
		layout: "june__llama4__debugmodel__fsdp4_tp2_ep4",
		...JUNE,
	},
	{
		setting: "PP×FSDP×TP",
		model: "llama4-text",
		layout: "june__llama4__debugmodel__pp2_fsdp2_tp2",
		...JUNE,
	},
	{
		setting: "FSDP×TP, tied",
		model: "qwen3",
		layout: "main__qwen3__debugmodel__fsdp2_tp2",
		...MAIN,
	},
	{
		setting: "FSDP×TP, tied, unfused",
		model: "qwen3",
		layout: "main__qwen3__debugmodel_non_fused_qkv__fsdp2_tp2",
		...JUNE,
	},
	{
		setting: "FSDP",
		model: "qwen3-moe",
		layout: "main__qwen3__debugmodel_moe__fsdp4",
		layers: 2,
		...MAIN,
	},
	{
		setting: "FSDP×CP×TP×EP",
		model: "qwen3-moe",
		layout: "main__qwen3__debugmodel_moe__spmd_fsdp2_cp2_tp2_ep4",
		layers: 2,
		...MAIN,
	},
	{
		setting: "FSDP×EP",
		model: "qwen3-moe",
		layout: "main__qwen3__debugmodel_moe__fsdp8_ep4",
		layers: 2,
		...MAIN,
	},
	{
		setting: "FSDP×TP×EP",
		model: "qwen3-moe",
		layout: "main__qwen3__debugmodel_moe__spmd_fsdp4_tp2_ep4",
		layers: 2,
		...MAIN,
	},
	{
		setting: "FSDP×TP×EP, June",
		model: "qwen3-moe",
		layout: "june__qwen3__debugmodel_moe__fsdp4_tp2_ep4",
		layers: 2,
		...JUNE,
	},
];

/** Path of a layout file. */
export function layoutPath(layout: string): string {
	return fileURLToPath(
		new URL(`../fixtures/torchtitan-layouts/${layout}.json.gz`, import.meta.url),
	);
}

interface LayoutFile {
	readonly parallel_dims: { readonly [degree: string]: number };
	readonly pp_schedule: string | null;
}

/** The flags that ask for the mesh a layout file was made with. */
export function layoutFlags(layout: string): readonly string[] {
	const file = JSON.parse(gunzipSync(readFileSync(layoutPath(layout))).toString()) as LayoutFile;
	const degrees = Object.entries(file.parallel_dims).flatMap(([name, degree]) => [
		`--${name.replace("_", "-")}`,
		String(degree),
	]);
	return file.pp_schedule === null ? degrees : [...degrees, "--pp-schedule", file.pp_schedule];
}
