/**
 * What torch's hash of the six record names of a saved tensor comes to: the same for every tensor, as the names are.
 *
 * Read off files written by torch 2.13 on Linux (libstdc++, whose `std::hash` it depends on).
 */
const RECORD_NAMES_HASH = "15728199511854643026";
const DIGITS = 20;
const GOLDEN_RATIO = 0x9e37_79b9n;

/**
 * The record `.data/serialization_id` of a saved tensor: 20 digits for the names of the records before it, 20 for the CRC-32s of
 * those that are not empty, in order. It identifies the content; torch only logs it.
 *
 * @see torch 2.13 `caffe2/serialize/inline_container.cc` `writeSerializationId`; `c10/util/hash.h` `hash_combine`
 */
export function serializationId(crcs: readonly number[]): string {
	let hash = 0n;
	for (const crc of crcs) {
		const mixed = BigInt(crc) + GOLDEN_RATIO + (hash << 6n) + (hash >> 2n);
		hash = BigInt.asUintN(64, hash ^ mixed);
	}
	return RECORD_NAMES_HASH + hash.toString().padStart(DIGITS, "0");
}
