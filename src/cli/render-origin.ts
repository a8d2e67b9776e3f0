import type { LayoutOrigin } from "../index.ts";
import { summariseNotes } from "./summarise-notes.ts";

/** Where a layout that is not made from a mesh came from, and what of it is not written, as rows of a table. */
export function originRows(origin: LayoutOrigin | undefined): string[][] {
	if (origin === undefined) return [];
	const { kind, path, prefix, leftOut, unasked } = origin;
	const under = prefix === "" ? "" : `, names under ${prefix}`;
	const rows = [["layout", `${kind === "like" ? "of the checkpoint" : "of"} ${path}${under}`]];
	for (const line of summariseNotes(leftOut, "key")) rows.push(["left out", line]);
	for (const line of summariseNotes(unasked)) rows.push(["not made", line]);
	return rows;
}
