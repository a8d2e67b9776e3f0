/** Digits beyond those that are printed, to tell a tie from what is only near one: a float64 has no more. */
const EXTRA_DIGITS = 40;
const MAX_DIGITS = 100;

/** `f"{value:.{digits}f}"`: JavaScript's `toFixed` rounds ties up instead of to even, and drops the sign of -0. */
export function pythonFixed(value: number, digits: number): string {
	if (!Number.isFinite(value)) return special(value);
	return signed(value, (magnitude) => {
		const more = Math.min(MAX_DIGITS, digits + EXTRA_DIGITS);
		return toEven(magnitude.toFixed(digits), magnitude.toFixed(more), more - digits);
	});
}

/** `f"{value:.{digits}e}"`: with at least two digits of exponent. */
export function pythonExponential(value: number, digits: number): string {
	if (!Number.isFinite(value)) return special(value);
	return signed(value, (magnitude) => {
		const more = Math.min(MAX_DIGITS, digits + EXTRA_DIGITS);
		const [short = "", exponent = ""] = magnitude.toExponential(digits).split("e");
		const [long = "", exact = ""] = magnitude.toExponential(more).split("e");
		// A number that rounds up to the next power of ten is no tie.
		const mantissa = exponent === exact ? toEven(short, long, more - digits) : short;
		const power = Number(exponent);
		const text = String(Math.abs(power)).padStart(2, "0");
		return `${mantissa}e${power < 0 ? "-" : "+"}${text}`;
	});
}

function special(value: number): string {
	if (Number.isNaN(value)) return "nan";
	return value > 0 ? "inf" : "-inf";
}

function signed(value: number, format: (magnitude: number) => string): string {
	const isNegative = value < 0 || Object.is(value, -0);
	return `${isNegative ? "-" : ""}${format(Math.abs(value))}`;
}

/**
 * The even one of two neighbours where a number lies between them exactly.
 *
 * @param rounded - With ties rounded up.
 * @param exact - With `extra` more digits.
 */
function toEven(rounded: string, exact: string, extra: number): string {
	const rest = exact.slice(exact.length - extra);
	if (!/^50*$/.test(rest)) return rounded;
	const cut = exact.slice(0, exact.length - extra).replace(/\.$/, "");
	return Number(cut.at(-1)) % 2 === 0 ? cut : rounded;
}
