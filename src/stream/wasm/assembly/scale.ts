/** The scale at an address. Codecs are named by their number in `SCALES` of `../formats.ts`. */
export function loadScale(codec: u32, address: usize): f32 {
	if (codec === 0) return load<f32>(address);
	if (codec === 1) return reinterpret<f32>((<u32>load<u16>(address)) << 16);
	if (codec === 2) return decodeHalf(load<u16>(address));
	const exponent = <u32>load<u8>(address);
	if (exponent === 255) return codec === 3 ? f32.NaN : f32.POSITIVE_INFINITY;
	// 2^-127 is a subnormal float32.
	return reinterpret<f32>(exponent === 0 ? 0x400000 : exponent << 23);
}

/** The value of a float16. */
function decodeHalf(bits: u32): f32 {
	const magnitude = bits & 0x7fff;
	const sign = (bits ^ magnitude) << 16;
	if (magnitude < 0x400) {
		// Counts units of 2^-24.
		const subnormal = reinterpret<u32>(<f32>magnitude * <f32>5.9604644775390625e-8);
		return reinterpret<f32>(sign | subnormal);
	}
	const rebias: u32 = magnitude < 0x7c00 ? 112 << 23 : 224 << 23;
	return reinterpret<f32>(sign | ((magnitude << 13) + rebias));
}
