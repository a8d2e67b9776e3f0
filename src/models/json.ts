/** Parsed JSON that is an object. */
export type JsonRecord = { readonly [key: string]: unknown };

/** Whether `value` is a JSON object, not an array or `null`. */
export function isRecord(value: unknown): value is JsonRecord {
	return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The string under `key`, or `undefined` when there is none. */
export function textField(record: JsonRecord, key: string): string | undefined {
	const value = record[key];
	return typeof value === "string" ? value : undefined;
}
