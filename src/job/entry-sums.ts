import { unlink } from "node:fs/promises";
import { join } from "node:path";
import { HfStreamDcpError, invariant } from "../core/errors.ts";
import type { ShareReport } from "../core/job-summary.ts";
import type { EntrySums } from "../core/ports.ts";
import { forEachAtOnce } from "../files/concurrently.ts";
import { type Finished, journalPath, readJournal } from "./journal.ts";
import type { PreparedJob } from "./prepare.ts";
import { shareName, sharePath } from "./state.ts";

/**
 * What the journals say of the entries of shares that are done.
 *
 * @returns Sums by share, and by index of the entry in it.
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`, also when a journal is damaged: the next run of the command writes it again.
 */
export async function readEntrySums(
	job: PreparedJob,
	reports: readonly ShareReport[],
): Promise<(share: number, index: number) => EntrySums> {
	const journals = new Map<number, Finished>();
	await forEachAtOnce(reports, async ({ share, attempts }) => {
		const path = journalPath(sharePath(job.planPath, share), attempts);
		const journal = await readJournal(path);
		if (journal?.finished.size === job.plan.shares[share]?.entries && journal !== undefined) {
			journals.set(share, journal.finished);
			return;
		}
		await unlink(join(job.donePath, shareName(share))).catch(() => {});
		throw new HfStreamDcpError("OUTPUT_WRITE", `${path} was damaged after it was written`, {
			hint: "Run the same command again: it does what the journal has lost.",
			facts: { path, share },
		});
	});
	return (share, index) => {
		const sums = journals.get(share)?.get(index);
		invariant(sums !== undefined, `the journal of share ${share} lacks entry ${index}`);
		return sums;
	};
}
