/* CRC-32 (the one of zip and zlib: reflected, polynomial 0xEDB88320) by carry-less multiplication.
 *
 * A message of k 128-bit words is folded: a word A that lies D bits before the end of what is kept is worth A * x^D mod P there.
 * Each half of a word needs its own factor, x^(D+32) and x^(D-32), reflected. Four words go side by side, so that the multiplications
 * overlap. The 16 bytes that stay are a message with the same CRC; they and the tail go through the table. */
#ifndef CRC32_H
#define CRC32_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

static uint32_t crc32_table[256];
static uint64_t crc32_factor[4]; /* for 512 bits: low half, high half; for 128 bits: the same */

/* x^n mod P as the 33-bit reflected operand that PCLMULQDQ takes: one bit up, because a product of reflected words comes out shifted. */
static uint64_t crc32_power(unsigned n)
{
	uint32_t value = 0x80000000u; /* x^0, reflected */
	while (n-- > 0) value = (value >> 1) ^ (value & 1 ? 0xEDB88320u : 0);
	return (uint64_t)value << 1;
}

static void crc32_setup(void)
{
	for (uint32_t byte = 0; byte < 256; byte++) {
		uint32_t value = byte;
		for (int bit = 0; bit < 8; bit++) value = (value >> 1) ^ (value & 1 ? 0xEDB88320u : 0);
		crc32_table[byte] = value;
	}
	crc32_factor[0] = crc32_power(512 + 32);
	crc32_factor[1] = crc32_power(512 - 32);
	crc32_factor[2] = crc32_power(128 + 32);
	crc32_factor[3] = crc32_power(128 - 32);
}

static uint32_t crc32_bytes(uint32_t state, const uint8_t *data, size_t length)
{
	while (length-- > 0) state = (state >> 8) ^ crc32_table[(state ^ *data++) & 0xff];
	return state;
}

__attribute__((target("pclmul,sse4.1"))) static inline __m128i crc32_fold(__m128i word, __m128i factors, __m128i next)
{
	__m128i low = _mm_clmulepi64_si128(word, factors, 0x00);
	__m128i high = _mm_clmulepi64_si128(word, factors, 0x11);
	return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

/* `crc` is the CRC of what came before, 0 at the start; as zlib's crc32. */
__attribute__((target("pclmul,sse4.1"))) static uint32_t crc32_update(uint32_t crc, const uint8_t *data, size_t length)
{
	uint32_t state = ~crc;
	if (length < 128) return ~crc32_bytes(state, data, length);
	const __m128i by512 = _mm_set_epi64x((long long)crc32_factor[1], (long long)crc32_factor[0]);
	const __m128i by128 = _mm_set_epi64x((long long)crc32_factor[3], (long long)crc32_factor[2]);
	const __m128i *words = (const __m128i *)data;
	__m128i a = _mm_xor_si128(_mm_loadu_si128(words), _mm_cvtsi32_si128((int)state));
	__m128i b = _mm_loadu_si128(words + 1), c = _mm_loadu_si128(words + 2), d = _mm_loadu_si128(words + 3);
	for (words += 4, length -= 64; length >= 64; words += 4, length -= 64) {
		a = crc32_fold(a, by512, _mm_loadu_si128(words));
		b = crc32_fold(b, by512, _mm_loadu_si128(words + 1));
		c = crc32_fold(c, by512, _mm_loadu_si128(words + 2));
		d = crc32_fold(d, by512, _mm_loadu_si128(words + 3));
	}
	b = crc32_fold(a, by128, b);
	c = crc32_fold(b, by128, c);
	d = crc32_fold(c, by128, d);
	uint8_t rest[16];
	_mm_storeu_si128((__m128i *)rest, d);
	state = crc32_bytes(0, rest, 16);
	return ~crc32_bytes(state, (const uint8_t *)words, length);
}

#endif
