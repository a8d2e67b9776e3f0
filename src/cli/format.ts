const DECIMAL_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"] as const;

/** `217 GB`, `1.32 MB`, `960 B`: three digits, powers of 1000, as network and disk sizes are sold. */
export function formatBytes(bytes: number): string {
	let value = bytes;
	let unit = 0;
	// 999.5 would round to "1000".
	while (value >= 999.5 && unit < DECIMAL_UNITS.length - 1) {
		value /= 1000;
		unit++;
	}
	const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
	return `${value.toFixed(digits)} ${DECIMAL_UNITS[unit] ?? ""}`;
}

/** `512 MiB`, `1.50 GiB`: powers of 1024, as memory is measured. */
export function formatMemory(bytes: number): string {
	if (bytes < 1024 ** 2) return `${(bytes / 1024).toFixed(0)} KiB`;
	if (bytes < 1024 ** 3) return `${(bytes / 1024 ** 2).toFixed(0)} MiB`;
	return `${(bytes / 1024 ** 3).toFixed(2)} GiB`;
}

function two(value: number): string {
	return String(value).padStart(2, "0");
}

/** `0.4 s`, `48 s`, `2:35`, `1:02:35`. */
export function formatDuration(seconds: number): string {
	if (seconds > 0 && seconds < 9.95) return `${seconds.toFixed(1)} s`;
	const whole = Math.max(0, Math.round(seconds));
	if (whole < 60) return `${whole} s`;
	const minutes = Math.floor(whole / 60);
	if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
	return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

/** `1,204`: a whole number for people. */
export function formatCount(count: number): string {
	return count.toLocaleString("en-US");
}

/** `3 entries`, `1 entry`. */
export function plural(count: number, one: string, many = `${one}s`): string {
	return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** Rows as aligned columns, two spaces apart; columns named in `right` are flush right. No trailing blanks. */
export function formatTable(
	rows: readonly (readonly string[])[],
	right: readonly number[] = [],
): string {
	const widths: number[] = [];
	for (const row of rows) {
		row.forEach((cell, column) => {
			widths[column] = Math.max(widths[column] ?? 0, cell.length);
		});
	}
	const lines = rows.map((row) =>
		row
			.map((cell, column) => {
				const width = widths[column] ?? 0;
				return right.includes(column) ? cell.padStart(width) : cell.padEnd(width);
			})
			.join("  ")
			.trimEnd(),
	);
	return lines.join("\n");
}
