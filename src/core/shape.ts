/** Sizes of a tensor's dimensions in elements, outermost first. Empty for a 0-dim tensor. */
export type Shape = readonly number[];

/** Number of elements of `shape`; 1 for a 0-dim tensor. */
export function numel(shape: Shape): number {
	let product = 1;
	for (const size of shape) product *= size;
	return product;
}

/** Row-major strides of `shape`, in elements. */
export function contiguousStrides(shape: Shape): number[] {
	const strides = Array.from(shape, () => 1);
	let stride = 1;
	for (let axis = shape.length - 1; axis >= 0; axis--) {
		strides[axis] = stride;
		stride *= at(shape, axis);
	}
	return strides;
}

/** Whether two shapes have the same sizes in the same order. */
export function shapesEqual(a: Shape, b: Shape): boolean {
	return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

/** `[2, 3]` for messages. */
export function formatShape(shape: Shape): string {
	return `[${shape.join(", ")}]`;
}

/**
 * Element `index` of `list`, which the caller knows to exist.
 *
 * @throws {RangeError} when it does not: a bug in this program, never a user's mistake.
 */
export function at<T>(list: readonly T[], index: number): T {
	const value = list[index];
	if (value === undefined) throw new RangeError(`index ${index} outside a list of ${list.length}`);
	return value;
}
