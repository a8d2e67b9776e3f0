/** Powers of two are loaded as half of what they are: the largest, 2^128, is no float32. Their elements are doubled. */
const HALVED: u32 = 4;

/** The scale at an address. Codecs are named by their number in `SCALE_CODECS` of `../kernels.ts`. */
export function loadScale(codec: u32, address: usize): f32 {
	if (codec === 0) return load<f32>(address);
	if (codec === 1) return reinterpret<f32>((<u32>load<u16>(address)) << 16);
	if (codec === 2) return decodeHalf(load<u16>(address));
	const exponent = <u32>load<u8>(address);
	// 2^-128 and 2^-127 are subnormal float32.
	if (codec === HALVED)
		return exponent < 2
			? reinterpret<f32>(0x200000 << exponent)
			: reinterpret<f32>((exponent - 1) << 23);
	if (exponent === 255) return f32.NaN;
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
