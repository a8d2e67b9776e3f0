/**
 * A record as JSON, in pieces: one line per element of its lists, since the whole may be longer than a string can be. What is `undefined`,
 * and methods, are left out. The same record gives the same bytes.
 *
 * @yields Text to be written one after the other.
 */
export function* recordJson(record: object): Generator<string> {
	let separator = "{\n";
	for (const [key, value] of Object.entries(record) as [string, unknown][]) {
		if (value === undefined || typeof value === "function") continue;
		yield `${separator}${JSON.stringify(key)}: `;
		separator = ",\n";
		if (Array.isArray(value) && value.length > 0) yield* arrayJson(value);
		else yield JSON.stringify(value);
	}
	yield "\n}\n";
}

function* arrayJson(items: readonly unknown[]): Generator<string> {
	let separator = "[\n";
	for (const item of items) {
		yield `${separator}${JSON.stringify(item)}`;
		separator = ",\n";
	}
	yield "\n]";
}
