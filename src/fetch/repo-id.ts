import { HfStreamDcpError } from "../core/errors.ts";

/** One part of a name: ASCII letters, digits, `-`, `_`, `.`; begins and ends with a letter, a digit or `_`; 96 at most. */
const PART = /^(?=.{1,96}$)\w(?:[\w.-]*\w)?$/;

/**
 * Checks that `repo` can be the name of a model repository: `org/name`, or `name` for the few that have no owner.
 *
 * @throws {HfStreamDcpError} `OPTIONS_INVALID` when it cannot.
 * @see huggingface_hub 2.4.0 `utils/_validators.py` `validate_repo_id`
 */
export function assertRepoId(repo: string): void {
	const parts = repo.split("/");
	const isValid =
		parts.length <= 2 &&
		parts.every((part) => PART.test(part)) &&
		!repo.includes("--") &&
		!repo.includes("..") &&
		!repo.endsWith(".git");
	if (isValid) return;
	const isUrl = /^https?:\/\//i.test(repo);
	throw new HfStreamDcpError(
		"OPTIONS_INVALID",
		`${JSON.stringify(repo)} is neither a directory nor the name of a Hub repository`,
		{
			hint: isUrl
				? "Give only org/name, and the Hub's address in HF_ENDPOINT."
				: "Hub repositories are called org/name, with letters, digits, '-', '_' and '.'; check the path if you mean a directory.",
			facts: { repo },
		},
	);
}
