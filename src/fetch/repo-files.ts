import { HfStreamDcpError } from "../core/errors.ts";

/** One file of a repository or directory. */
export interface RepoFile {
	/** Path inside it, with slashes. */
	readonly path: string;
	readonly bytes: number;
	/** Lower-case hex, where it is known without reading the file. */
	readonly sha256?: string;
}

/** The files of one commit or directory, wherever they lie. */
export interface RepoFiles {
	/** What messages call it. */
	readonly name: string;
	/** All files of the top folder; those of sub-folders may be left out. */
	readonly list: readonly RepoFile[];
	/** The file at a safe path (see {@link isSafePath}), also in a sub-folder; `undefined` when there is none. */
	find(path: string): Promise<RepoFile | undefined>;
	/**
	 * All bytes of a small file.
	 *
	 * @throws {HfStreamDcpError} when it cannot be read or has more than `limitBytes`.
	 */
	read(path: string, limitBytes: number): Promise<Uint8Array>;
}

/** Rounds of percent-decoding that a name may take; one that takes more hides something. */
const MAX_DECODINGS = 8;

/**
 * Whether `path`, which a stranger wrote, is a plain relative path that stays inside its folder on every system and in
 * every URL: no empty, `.` or `..` part, no backslash, drive, scheme or control character, neither as it is nor
 * percent-decoded any number of times.
 */
export function isSafePath(path: string): boolean {
	let text = path;
	for (let round = 0; round < MAX_DECODINGS; round++) {
		if (!isPlainPath(text)) return false;
		const decoded = percentDecode(text);
		if (decoded === text) return true;
		text = decoded;
	}
	return false;
}

function isPlainPath(path: string): boolean {
	// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
	if (/[\u0000-\u001f\u007f\\]/.test(path) || /^[a-z][a-z0-9+.-]*:/i.test(path)) return false;
	return path.split("/").every((part) => !["", ".", ".."].includes(part));
}

/** Decodes byte by byte, so that one broken escape does not hide the others. */
function percentDecode(text: string): string {
	return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) =>
		String.fromCharCode(Number.parseInt(hex, 16)),
	);
}

/** `a, b, c and 5 more` for messages. */
export function formatNames(names: readonly string[], shown = 5): string {
	const rest = names.length - shown;
	return rest > 0 ? `${names.slice(0, shown).join(", ")} and ${rest} more` : names.join(", ");
}

/** An error about the files of a source as a whole. */
export function sourceError(message: string, hint: string, facts: object): HfStreamDcpError {
	return new HfStreamDcpError("SOURCE_UNREADABLE", message, { hint, facts: { ...facts } });
}
