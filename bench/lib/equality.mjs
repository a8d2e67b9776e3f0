// Checkpoints against their source, by torch.
import { startMeter } from "./run.mjs";
import { rival } from "./settings.mjs";

/**
 * @typedef {object} EqualityCheck
 * @property {(name: string, path: string, dtype: string) => Promise<{ keys: number, bytes: number }>} check throws when any tensor differs
 * @property {() => Promise<void>} stop may be called twice
 */

/**
 * Starts a Python that compares checkpoints of one model with what torchtitan's mapping makes of the local snapshot. Once it has
 * started, it has read the model, and rests while it is not asked.
 *
 * @param {string} python
 * @param {string} model directory of the snapshot
 * @returns {Promise<EqualityCheck>}
 */
export async function startEqualityCheck(python, model) {
	const meter = startMeter(python, [rival("equal.py")], { PYTHONDONTWRITEBYTECODE: "1" });
	await meter.ask({ model });
	return {
		check: async (name, path, dtype) => {
			const { wrong, ...facts } = await meter.ask({ model, path, dtype });
			if (wrong.length > 0)
				throw new Error(`the checkpoint of ${name} differs from the source:\n${wrong.join("\n")}`);
			return facts;
		},
		stop: meter.stop,
	};
}
