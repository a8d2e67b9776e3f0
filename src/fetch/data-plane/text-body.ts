import type { Body } from "../exchange.ts";
import { readChunked } from "./chunked-text.ts";
import type { Inbox } from "./inbox.ts";
import type { Framing } from "./response-head.ts";

/** The body of an answer that is no success: a text for people, of which the beginning is enough. */
export interface TextBody {
	/** Takes what the inbox holds. @returns Whether the text has ended, or enough of it has come. */
	read(inbox: Inbox): boolean;
	/** The connection has ended. @returns Whether that ends the text. */
	end(): boolean;
	/** Whether the connection is of no use any more, because where the body ends is not known or not waited for. */
	readonly endsConnection: boolean;
}

/** Texts are shown, not kept: what comes after this much is not waited for. */
const MAX_TEXT_BYTES = 64 * 1024;

/** @param body - Gets the text when it has ended. */
export function createTextBody(framing: Framing, body: Exclude<Body, undefined>): TextBody {
	const pieces: Uint8Array[] = [];
	let bytes = 0;
	const pass = (text: Uint8Array): void => {
		if (typeof body === "function") body(text);
	};
	return {
		endsConnection: framing.kind !== "length" || framing.bytes > MAX_TEXT_BYTES,
		read(inbox) {
			const wanted = framing.kind === "length" ? framing.bytes - bytes : MAX_TEXT_BYTES;
			const piece = new Uint8Array(Math.min(wanted, inbox.peek().length));
			bytes += inbox.take(piece);
			pieces.push(piece);
			const all = Buffer.concat(pieces);
			const chunked = framing.kind === "chunked" ? readChunked(all) : undefined;
			const isWhole =
				chunked?.isWhole === true || (framing.kind === "length" && bytes === framing.bytes);
			if (!isWhole && bytes < MAX_TEXT_BYTES) return false;
			pass(chunked?.content ?? all);
			return true;
		},
		end() {
			if (framing.kind !== "close") return false;
			pass(Buffer.concat(pieces));
			return true;
		},
	};
}
