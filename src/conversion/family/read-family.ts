import { readFile } from "node:fs/promises";
import { extname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { HfStreamDcpError } from "../../core/errors.ts";
import type { Family } from "../../models/family.ts";
import { formatPath } from "../../models/schema/issue.ts";
import { familyInvalid, parseFamily } from "../../models/schema/parse-family.ts";
import { parseFamilyText } from "../../models/schema/family-text.ts";

const TEXT_EXTENSIONS: readonly string[] = [".json", ".jsonc"];
const MODULE_EXTENSIONS: readonly string[] = [".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"];

/**
 * Whether a `--family` is the path of a file: it has a separator, or ends as the name of such a file does. Anything else is the name of a
 * built-in family.
 */
export function isFamilyFile(text: string): boolean {
	return (
		/[/\\]/.test(text) ||
		[...TEXT_EXTENSIONS, ...MODULE_EXTENSIONS].includes(extname(text).toLowerCase())
	);
}

/**
 * Reads the family that options ask for: by name, as a file, or as an object.
 *
 * @returns The name of a built-in family as it is; a file or an object as a family that was checked.
 * @throws {HfStreamDcpError} `FAMILY_UNKNOWN` when the file is not there, `FAMILY_INVALID` when it cannot be used.
 */
export async function readFamily(
	choice: string | object | undefined,
): Promise<string | Family | undefined> {
	if (choice === undefined) return undefined;
	if (typeof choice !== "string") return fromObject(choice, "the family");
	if (!isFamilyFile(choice)) return choice;
	const extension = extname(choice).toLowerCase();
	if (MODULE_EXTENSIONS.includes(extension)) {
		// Read first, so that a missing file is told from a module that misses another.
		await readFamilyText(choice);
		return fromObject(await importDefault(choice), choice);
	}
	if (TEXT_EXTENSIONS.includes(extension)) {
		return parseFamilyText(await readFamilyText(choice), choice);
	}
	const allowed = [...TEXT_EXTENSIONS, ...MODULE_EXTENSIONS].join(", ");
	throw new HfStreamDcpError("FAMILY_UNKNOWN", `${choice} is no file of a family`, {
		hint: `A family file ends in ${allowed}; a name without a / is that of a built-in family.`,
	});
}

async function readFamilyText(path: string): Promise<string> {
	try {
		return await readFile(path, "utf8");
	} catch (error) {
		throw new HfStreamDcpError("FAMILY_UNKNOWN", `the family file ${path} cannot be read`, {
			hint: "Check the path; every worker of a job reads the file at the same path.",
			facts: { path },
			cause: error,
		});
	}
}

/** The default export of a module. */
async function importDefault(path: string): Promise<unknown> {
	let loaded: { readonly default?: unknown };
	try {
		loaded = (await import(pathToFileURL(resolve(path)).href)) as typeof loaded;
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		throw new HfStreamDcpError("FAMILY_INVALID", `${path}: the module cannot be loaded`, {
			hint:
				code === "ERR_UNKNOWN_FILE_EXTENSION"
					? `Node ${process.versions.node} does not run TypeScript. Node 22.18 and later do; here, set NODE_OPTIONS="--import tsx" with the package tsx installed, compile it to .mjs, or write the family as JSON.`
					: "The cause says where it failed.",
			facts: { path },
			cause: error,
		});
	}
	if (loaded.default !== undefined) return loaded.default;
	throw new HfStreamDcpError("FAMILY_INVALID", `${path} has no default export`, {
		hint: "Write: export default defineFamily({ … })",
		facts: { path },
	});
}

function fromObject(value: unknown, what: string): Family {
	const { family, issues = [] } = parseFamily(plain(value));
	if (family !== undefined) return family;
	const lines = issues.map(
		({ path, message }) => `${formatPath(path) || "the family"}: ${message}`,
	);
	throw familyInvalid(what, lines, issues);
}

/** `value` as JSON would carry it to another process; as it is when JSON cannot, which the checks then say. */
function plain(value: unknown): unknown {
	try {
		return JSON.parse(JSON.stringify(value)) as unknown;
	} catch {
		return value;
	}
}
