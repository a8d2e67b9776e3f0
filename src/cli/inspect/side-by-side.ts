/**
 * Two blocks of lines beside one another, where they fit into `width` characters, otherwise one below the other; each below its title.
 */
export function sideBySide(
	titles: readonly [string, string],
	blocks: readonly [string, string],
	width: number,
): string {
	const [left, right] = [
		[titles[0], ...blocks[0].split("\n")],
		[titles[1], ...blocks[1].split("\n")],
	] as const;
	const leftWidth = left.reduce((most, line) => Math.max(most, line.length), 0);
	const rightWidth = right.reduce((most, line) => Math.max(most, line.length), 0);
	if (leftWidth + 3 + rightWidth > width) return [...left, "", ...right].join("\n");
	const rows = Math.max(left.length, right.length);
	return Array.from({ length: rows }, (_, i) =>
		`${(left[i] ?? "").padEnd(leftWidth)}   ${right[i] ?? ""}`.trimEnd(),
	).join("\n");
}
