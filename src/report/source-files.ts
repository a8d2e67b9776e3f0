import { type Expr, sourcesOf } from "../core/expr.ts";
import type { Source } from "../core/source.ts";
import type { ReportSourceFile } from "./report-data.ts";

/**
 * What the files of a source are needed for.
 *
 * @param exprs - Of the tensors that are made.
 * @param fetched - Bytes that are fetched of each file, in the order of `source.files`; `undefined` where that is not known.
 */
export function sourceFilesOf(
	source: Pick<Source, "files" | "tensors">,
	exprs: Iterable<Expr>,
	fetched?: Float64Array,
): readonly ReportSourceFile[] {
	const used = new Set<string>();
	for (const expr of exprs) for (const { name } of sourcesOf(expr)) used.add(name);
	const needed = new Map<string, number>();
	for (const { name, file, begin, end } of source.tensors) {
		if (used.has(name)) needed.set(file, (needed.get(file) ?? 0) + end - begin);
	}
	return source.files.map(({ path, bytes }, index) => ({
		path,
		bytes,
		neededBytes: needed.get(path) ?? 0,
		fetchBytes: fetched?.[index],
	}));
}
