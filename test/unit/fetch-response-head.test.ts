import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readChunked } from "../../src/fetch/data-plane/chunked-text.ts";
import { framingOf, parseResponseHead } from "../../src/fetch/data-plane/response-head.ts";

function parse(text: string) {
	return parseResponseHead(Buffer.from(text, "latin1"));
}

function parsed(text: string) {
	const result = parse(text);
	if (result.kind !== "head") throw new Error(`${result.kind}: ${JSON.stringify(text)}`);
	return result;
}

describe("the head of an answer", () => {
	test("is taken apart, and the body begins behind it", () => {
		const text =
			"HTTP/1.1 206 Partial Content\r\nContent-Length:  12 \r\nX-Empty:\r\nVia: a\r\nvia: b\r\n\r\n";
		const head = parsed(`${text}body`);
		expect(head.status).toBe(206);
		expect(head.headBytes).toBe(text.length);
		expect([...head.headers]).toEqual([
			["content-length", "12"],
			["via", "a, b"],
			["x-empty", ""],
		]);
		expect(head.keepsAlive).toBe(true);
		expect(framingOf(head)).toEqual({ kind: "length", bytes: 12 });
	});

	test.each([
		["no reason", "HTTP/1.1 200 \r\n\r\n", 200],
		["bytes beyond ASCII in a value", "HTTP/1.1 404 Nö\r\nX: \xe6\xa8\r\n\r\n", 404],
	])("may have %s", (_, text, status) => {
		expect(parsed(text).status).toBe(status);
	});

	test.each(["", "H", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nA: b\r\n", "HTTP/1.1 200 OK\r\n\r"])(
		"%j may go on",
		(text) => {
			expect(parse(text)).toEqual({ kind: "more" });
		},
	);

	test.each([
		["HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n"],
		["HTTP/2 in the clear", "PRI * HTTP/2.0\r\n\r\n"],
		["an interim answer", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"],
		["no space before the reason", "HTTP/1.1 200\r\n\r\n"],
		["a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"],
		["a bare line feed", "HTTP/1.1 200 OK\nA: b\r\n\r\n"],
		["a line feed inside a value", "HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n"],
		["a bare carriage return", "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n"],
		["a folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"],
		["a space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n"],
		["a line without a colon", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"],
		["a NUL", "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n"],
		["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n"],
		["a page of its own kind", "<html>"],
	])("%s is left to another parser", (_, text) => {
		expect(parse(text).kind).toBe("unusual");
	});

	test.each([
		["close", false],
		["Keep-Alive, Close", false],
		["keep-alive", true],
		["x-close", true],
	])("Connection: %s", (value, keepsAlive) => {
		expect(parsed(`HTTP/1.1 200 OK\r\nConnection: ${value}\r\n\r\n`).keepsAlive).toBe(keepsAlive);
	});

	test.each<[string, ReturnType<typeof framingOf>]>([
		["Content-Length: 0", { kind: "length", bytes: 0 }],
		["Content-Length: 5, 5", undefined],
		["Content-Length: +5", undefined],
		["Content-Length: 0x5", undefined],
		["Content-Length: 99999999999999999999", undefined],
		["Transfer-Encoding: chunked", { kind: "chunked" }],
		["Transfer-Encoding: gzip, chunked", undefined],
		["Transfer-Encoding: chunked\r\nContent-Length: 5", undefined],
		["A: b", { kind: "close" }],
	])("%s frames the body as %o", (fields, framing) => {
		expect(framingOf(parsed(`HTTP/1.1 200 OK\r\n${fields}\r\n\r\n`))).toEqual(framing);
	});

	test("is the same however it is cut into reads, and damage never passes as another value", () => {
		const name = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,15}$/);
		const value = fc.stringMatching(/^([!-~]([ -~]{0,30}[!-~])?)?$/);
		const fields = fc.uniqueArray(fc.tuple(name, value), {
			selector: ([one]) => one.toLowerCase(),
			maxLength: 8,
		});
		fc.assert(
			fc.property(fc.integer({ min: 200, max: 599 }), fields, (status, list) => {
				const lines = list.map(([one, text]) => `${one}: ${text}\r\n`).join("");
				const text = `HTTP/1.1 ${status} Fine\r\n${lines}\r\n`;
				for (let length = 0; length < text.length; length++) {
					expect(parse(text.slice(0, length)).kind).toBe("more");
				}
				const head = parsed(text);
				expect(head.headBytes).toBe(text.length);
				for (const [one, wanted] of list) expect(head.headers.get(one)).toBe(wanted);
			}),
		);
	});

	test("any bytes give an answer, never an exception", () => {
		const noise = fc.oneof(
			fc.uint8Array({ maxLength: 200 }),
			fc
				.array(
					fc.constantFrom("HTTP/1.1 ", "200", " ", "\r\n", "\n", ":", "content-length", "1", "\0"),
					{ maxLength: 30 },
				)
				.map((parts) => Buffer.from(parts.join(""))),
		);
		fc.assert(
			fc.property(noise, (bytes) => {
				const result = parseResponseHead(bytes);
				if (result.kind === "head") expect(result.headBytes).toBeLessThanOrEqual(bytes.length);
				expect(["head", "more", "unusual"]).toContain(result.kind);
			}),
			{ numRuns: 2000 },
		);
	});
});

describe("the text of a chunked error", () => {
	const read = (text: string): [string, boolean] => {
		const { content, isWhole } = readChunked(Buffer.from(text));
		return [Buffer.from(content).toString(), isWhole];
	};

	test("is put together", () => {
		expect(read("3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n")).toEqual(["abc0123456789", true]);
	});

	test("may still be on its way", () => {
		expect(read("")).toEqual(["", false]);
		expect(read("5\r\nab")).toEqual(["ab", false]);
		expect(read("2\r\nab\r\n")).toEqual(["ab", false]);
	});

	test("ends where it is no chunk", () => {
		expect(read("2\r\nab\r\nnonsense\r\n")).toEqual(["ab", true]);
	});
});
