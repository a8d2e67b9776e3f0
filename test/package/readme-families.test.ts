import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { isHfStreamDcpError } from "../../src/core/errors.ts";
import { createLayout } from "../../src/layout/create-layout.ts";
import { resolveParallelism } from "../../src/layout/parallelism.ts";
import { mapModel } from "../../src/models/map-model.ts";
import { listFamilies } from "../../src/models/registry.ts";
import { ADAPTER_CASES, type AdapterCase } from "../support/adapter-cases.ts";
import { readPage } from "../support/markdown.ts";
import { type Shapes, sourceOf } from "../support/model-sources.ts";

/** A mesh for each column of the README's table of families. */
const MESHES = {
	"FSDP, HSDP, CP": { dpReplicate: 2, dpShard: 2, cp: 2 },
	TP: { dpShard: 2, tp: 2 },
	EP: { dpShard: 2, ep: 2 },
	PP: { dpShard: 2, pp: 2 },
} as const;

type Column = keyof typeof MESHES;
const COLUMNS = Object.keys(MESHES) as readonly Column[];

const NAMES_KEPT = ADAPTER_CASES.filter(({ golden }) => golden === "qwen3__debugmodel_moe").map(
	(model) => ({ ...model, target: "hf" }),
);

/** The cells of a row of a table. */
function cellsOf(line: string): readonly string[] {
	return line.split("|").map((cell) => cell.trim());
}

/** Family → column → whether the README says that it can be cut so. */
function claims(): ReadonlyMap<string, { readonly [column: string]: boolean }> {
	const lines = readPage("README.md").split("\n");
	const head = cellsOf(lines.find((line) => line.startsWith("| family |")) ?? "");
	const rows = lines.flatMap((line) => {
		const [, name] = /^\| `(\w+)` \|/.exec(line) ?? [];
		if (name === undefined || !listFamilies().some((text) => text.startsWith(name))) return [];
		const cells = cellsOf(line);
		const row = COLUMNS.map((column) => [column, cells[head.indexOf(column)] === "yes"] as const);
		return [[name, Object.fromEntries(row)] as const];
	});
	return new Map(rows);
}

/** Whether torchtitan's debug model of the family can be laid out so, all of it. */
function fits({ golden, target, config, extra }: AdapterCase, column: Column): boolean {
	const path = join(import.meta.dirname, `../fixtures/torchtitan-adapters/${golden}.json`);
	const { source } = JSON.parse(readFileSync(path, "utf8")) as { readonly source: Shapes };
	const map = mapModel({ source: sourceOf(config, { ...source, ...extra }), target });
	try {
		const parallelism = resolveParallelism(MESHES[column]);
		const layout = createLayout({ parallelism, rules: map.rules, facts: map.facts });
		for (const { fqn, expr } of map.recipes) layout.shardsOf(fqn, expr.shape);
		return true;
	} catch (error) {
		if (isHfStreamDcpError(error, "LAYOUT_INVALID")) return false;
		throw error;
	}
}

test("the README's table of families has a row for each", () => {
	expect([...claims().keys()].toSorted()).toEqual(
		listFamilies()
			.map((line) => /^\w+/.exec(line)?.[0] ?? "")
			.toSorted(),
	);
});

test("and says of each how it can be cut", () => {
	const found = new Map<string, Record<string, boolean>>();
	for (const model of [...ADAPTER_CASES, ...NAMES_KEPT]) {
		const [name = ""] = model.golden.split("__");
		const family = model.target === "hf" ? "hf" : name.replace(/_7$/, "");
		const row = found.get(family) ?? {};
		// What one of the family's models can do the family can: experts are in some only, tied heads are not for pipelines.
		for (const column of COLUMNS) row[column] ||= fits(model, column);
		found.set(family, row);
	}
	expect(Object.fromEntries(claims())).toEqual(Object.fromEntries(found));
});
