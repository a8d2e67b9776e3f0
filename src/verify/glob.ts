/**
 * Whether names match a pattern: `*` stands for any characters, dots included, `?` for one, all else for itself.
 *
 * @param pattern - `layers.*.attention.w?.weight`
 */
export function globMatcher(pattern: string): (name: string) => boolean {
	const source = pattern.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, (char) => {
		if (char === "*") return ".*";
		return char === "?" ? "." : `\\${char}`;
	});
	const regExp = new RegExp(`^${source}$`, "s");
	return (name) => regExp.test(name);
}
