const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"] as const;

const COUNT = new Intl.NumberFormat("en-US");

/** `217 GB`, `1.32 MB`, `960 B`: three digits, powers of 1000, as the command line prints them. */
export function bytes(value: number): string {
	let scaled = value;
	let unit = 0;
	while (scaled >= 999.5 && unit < UNITS.length - 1) {
		scaled /= 1000;
		unit++;
	}
	const digits = unit === 0 || scaled >= 99.95 ? 0 : scaled >= 9.995 ? 1 : 2;
	return `${scaled.toFixed(digits)} ${UNITS[unit] ?? ""}`;
}

/** `1,204` */
export function count(value: number): string {
	return COUNT.format(value);
}

/** `3 tensors`, `1 tensor`. */
export function plural(value: number, one: string, many = `${one}s`): string {
	return `${count(value)} ${value === 1 ? one : many}`;
}

/** `217 GB (217,120,346,112 bytes)`; small numbers once. */
export function exactBytes(value: number): string {
	return value < 1000 ? plural(value, "byte") : `${bytes(value)} (${count(value)} bytes)`;
}

function two(value: number): string {
	return String(value).padStart(2, "0");
}

/** `0.4 s`, `48 s`, `2:35`, `1:02:35`. */
export function duration(seconds: number): string {
	if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
	const whole = Math.round(seconds);
	if (whole < 60) return `${whole} s`;
	const minutes = Math.floor(whole / 60);
	if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
	return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

/** `12.3 %`, `0.004 %`, `0 %`. */
export function percent(fraction: number): string {
	const value = fraction * 100;
	if (value === 0) return "0\u00A0%";
	const digits = value >= 10 ? 1 : value >= 1 ? 2 : 3;
	return `${value.toFixed(digits)}\u00A0%`;
}

/** `[0:4, 8:16]`; half-open. */
export function box(offset: readonly number[], size: readonly number[]): string {
	return `[${offset.map((start, axis) => `${start}:${start + (size[axis] ?? 0)}`).join(", ")}]`;
}

/** `8 × 5120`; `scalar` for no dimensions. */
export function shape(sizes: readonly number[]): string {
	return sizes.length === 0 ? "scalar" : sizes.join(" × ");
}

/** `rank 3`, `ranks 0-7, 16`, at most so many ranges. */
export function ranks(ranges: readonly (readonly [number, number])[], shown = 6): string {
	if (ranges.length === 0) return "no rank is known";
	const texts = ranges
		.slice(0, shown)
		.map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`));
	const rest = ranges.length - texts.length;
	const isOne = ranges.length === 1 && ranges[0]?.[0] === ranges[0]?.[1];
	return `${isOne ? "rank" : "ranks"} ${texts.join(", ")}${rest > 0 ? `, … (${rest} more ranges)` : ""}`;
}
