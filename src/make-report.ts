import { resolve } from "node:path";
import type { Preparation } from "./conversion/prepare.ts";
import { meshesOfInput } from "./conversion/report-meshes.ts";
import { formatRankRanges } from "./core/rank-ranges.ts";
import { readCheckpoint } from "./dcp/checkpoint-reader.ts";
import { replaceFile } from "./files/replace-file.ts";
import type { Manifest } from "./manifest/manifest.ts";
import { readManifest } from "./manifest/read.ts";
import { type ReadDirectory, reportFromDirectory } from "./report/checkpoint-report.ts";
import { reportFromManifest } from "./report/manifest-report.ts";
import { reportFromPlan } from "./report/plan-report.ts";
import { renderReport } from "./report/render-report.ts";
import type { ReportData } from "./report/report-data.ts";
import { VERSION } from "./version.ts";

/** A report of what a conversion would do. */
export function reportOfPlan(preparation: Preparation): ReportData {
	const { plan, layoutOrigin } = preparation;
	const { sets, setOf } = preparation.holders();
	return reportFromPlan({
		tool: VERSION,
		plan,
		holders: { sets: sets.map(formatRankRanges), setOf },
		meshes: preparation.meshes,
		sourceKind: preparation.sourceKind,
		metadataBytes: preparation.metadataBytes,
		workers: preparation.workers,
		leftOut: layoutOrigin?.leftOut ?? [],
		warnings: preparation.warnings,
	});
}

/**
 * A report of a finished checkpoint: of one that this program wrote everything that its manifest says, of any other DCP directory what
 * `.metadata` says. No tensor data is read, and nothing is executed.
 *
 * @throws {HfStreamDcpError} `SOURCE_UNREADABLE`, `CHECKPOINT_CORRUPT` or `DTYPE_UNSUPPORTED` when it cannot be read or understood.
 */
export async function reportOfCheckpoint(directory: string): Promise<ReportData> {
	const path = resolve(directory);
	const [found, manifest] = await Promise.all([readCheckpoint(path), readManifest(path)]);
	if (manifest === undefined) {
		return reportFromDirectory(
			found,
			VERSION,
			"This directory has no hf-stream-dcp.json: something else wrote it, or an older version did.",
		);
	}
	if (!isOf(manifest, found)) {
		return reportFromDirectory(
			{
				...found,
				problems: [
					...found.problems,
					"hf-stream-dcp.json does not belong to this .metadata: the checkpoint was written over by something else",
				],
			},
			VERSION,
			"What hf-stream-dcp.json says of another checkpoint is left out.",
		);
	}
	const meshes = meshesOfInput(manifest.layout.mesh);
	return reportFromManifest({ tool: VERSION, manifest, meshes, found });
}

/** Whether a manifest speaks of what was found; `verify` looks closer. */
function isOf({ metadata, tensors }: Manifest, found: ReadDirectory): boolean {
	return metadata.bytes === found.metadataBytes && tensors.length === found.tensors.length;
}

/**
 * Writes a report as one HTML page. A file that was there is replaced, once the new one is whole.
 *
 * @param path - Of the file.
 * @throws {HfStreamDcpError} `OUTPUT_WRITE`
 */
export async function writeReport(data: ReportData, path: string): Promise<void> {
	await replaceFile(resolve(path), Buffer.from(renderReport(data)));
}
