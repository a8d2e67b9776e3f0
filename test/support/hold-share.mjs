// A job of one share, held by this process, with the built program.
import { openShare } from "../../dist/src/job/held-share.js";
import { joinJob } from "../../dist/src/job/job.js";
import { prepareJob } from "../../dist/src/job/prepare.js";
import { shareTurns } from "../../dist/src/job/share-turns.js";

/** Joins the job of a directory and opens its only share. */
export async function holdShare({ directory, planId, entries, files, overwrite }) {
	const { job } = await joinJob({
		directory,
		worker: { index: 0, count: 1 },
		command: { model: planId },
		overwrite,
		takeover: true,
		leaseMs: 60_000,
		tool: "0.0.0",
	});
	const shares = [{ entries: entries.length, files }];
	const prepared = await prepareJob(job, { planId, shares });
	const turn = (await shareTurns(prepared).next()).value;
	const held = await openShare(prepared, turn, { directory, entries, files });
	return { job: prepared, turn, held };
}
