/**
 * JSON of a result that holds values of tensors. What JSON has no number for becomes text: `"NaN"`, `"Infinity"`, `"-Infinity"`, and
 * integers beyond 2^53 in decimal. What there is none of becomes `null`.
 */
export function valuesJson(result: object): string {
	return JSON.stringify(
		result,
		(_, value: unknown) => {
			if (value === undefined) return null;
			if (typeof value === "bigint") return String(value);
			return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
		},
		"\t",
	);
}
