import * as fc from "fast-check";
import type { CheckpointIndex } from "../../src/core/checkpoint.ts";
import { type Dtype, DTYPES } from "../../src/core/dtype.ts";

const dtype = fc.constantFrom(...(Object.keys(DTYPES) as Dtype[]));
const file = fc.stringMatching(/^[a-z_][a-z0-9_]{0,8}(\/[a-z0-9_]{1,8})?\.distcp$/);
const place = fc.record({
	file,
	offset: fc.oneof(
		fc.nat(70_000),
		fc.nat(2 ** 31 - 1),
		fc.maxSafeNat().map((n) => n % 2 ** 52),
	),
	length: fc.oneof(
		fc.nat(70_000),
		fc.nat(2 ** 31 - 1),
		fc.maxSafeNat().map((n) => n % 2 ** 52),
	),
});

const tensor = fc
	.record({
		fqn: fc.string({ unit: "grapheme", maxLength: 20 }),
		dtype,
		shape: fc.array(fc.oneof(fc.nat(300), fc.nat(2 ** 40)), { maxLength: 5 }),
	})
	.chain(({ fqn, dtype: type, shape }) =>
		fc
			.uniqueArray(fc.record({ offset: fc.tuple(...shape.map((size) => fc.nat(size))), place }), {
				maxLength: 4,
				selector: ({ offset }) => offset.join(),
			})
			.map((chunks) => ({
				fqn,
				dtype: type,
				shape,
				entries: chunks.map(({ offset, place: where }) => ({
					fqn,
					dtype: type,
					box: { offset, size: shape.map((size, axis) => size - (offset[axis] ?? 0)) },
					...where,
				})),
			})),
	);

const object = fc
	.record({ fqn: fc.string({ maxLength: 20 }), place })
	.map(({ fqn, place: where }) => ({ fqn: `object ${fqn}`, ...where }));

/** Any index a checkpoint could have: all dtypes, 0 to 5 dimensions, integers of all sizes, any names. */
export const arbitraryIndex: fc.Arbitrary<CheckpointIndex> = fc.record({
	tensors: fc.uniqueArray(tensor, { maxLength: 6, selector: ({ fqn }) => fqn }),
	objects: fc.uniqueArray(object, { maxLength: 3, selector: ({ fqn }) => fqn }),
});
