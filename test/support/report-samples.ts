import type { ReportData, ReportTensor } from "../../src/report/report-data.ts";

/** A report of a model that is cut over `ranks` ranks: tensors of two axes, one block for each rank. */
export function largeReport(tensors: number, ranks: number): ReportData {
	const rows = 4 * ranks;
	const bytes = rows * 1024 * 2;
	const names = Array.from(
		{ length: tensors },
		(_, i) => `layers.${Math.floor(i / 8)}.part${i % 8}.weight`,
	);
	return {
		...EMPTY_REPORT,
		worldSize: ranks,
		meshes: [
			{
				name: "mesh",
				axes: [
					{ name: "fsdp", size: ranks / 8 },
					{ name: "tp", size: 8 },
				],
			},
		],
		holders: Array.from({ length: ranks }, (_, rank) => String(rank)),
		totals: {
			dataBytes: tensors * bytes,
			fileBytes: tensors * bytes,
			metadataBytes: 1000,
			entries: tensors * ranks,
		},
		tensors: names.map((fqn, tensor) => ({
			fqn,
			dtype: "bfloat16",
			shape: [rows, 1024],
			entries: Array.from({ length: ranks }, (_, rank) => ({
				box: { offset: [4 * rank, 0], size: [4, 1024] },
				file: rank,
				offset: tensor * 9792,
				length: 9792,
				holders: rank,
			})),
		})),
		files: Array.from({ length: ranks }, (_, rank) => ({
			name: `__${rank}_0.distcp`,
			bytes: tensors * 9792,
			rank,
			share: 0,
		})),
	};
}

/** A report of nothing. */
export const EMPTY_REPORT: ReportData = {
	format: "hf-stream-dcp report 1",
	kind: "conversion",
	tool: "0.0.0",
	origin: { model: "org/name" },
	worldSize: 0,
	meshes: [],
	holdersKnownBy: "layout",
	holders: [],
	totals: { dataBytes: 0, fileBytes: 0, metadataBytes: 0, entries: 0 },
	tensors: [],
	files: [],
	sourceFiles: [],
	shares: [],
	timelines: [],
	dropped: [],
	tied: [],
	dequantised: [],
	synthesised: [],
	objects: [],
	warnings: [],
	problems: [],
	unknown: [],
};

/** A name that would run a program if it ever were markup, in every place that a report has for names. */
export const HOSTILE =
	'</script><img src=x onerror="window.wasHacked=1"><!--<script>\u202E"\'&lt;\u0000';

/** A report all of whose texts are hostile. */
export function hostileReport(): ReportData {
	const tensor: ReportTensor = {
		fqn: `${HOSTILE}.${"long".repeat(200)}`,
		dtype: "float32",
		shape: [4],
		entries: [{ box: { offset: [0], size: [4] }, file: 0, offset: 0, length: 16, holders: 0 }],
	};
	const note = { name: HOSTILE, reason: HOSTILE };
	return {
		...EMPTY_REPORT,
		worldSize: 1,
		holders: ["0"],
		origin: {
			model: HOSTILE,
			commit: HOSTILE,
			directory: HOSTILE,
			family: HOSTILE,
			target: HOSTILE,
			layout: HOSTILE,
			command: { [HOSTILE]: HOSTILE },
		},
		meshes: [{ name: HOSTILE, axes: [{ name: HOSTILE, size: 1 }] }],
		totals: { dataBytes: 16, fileBytes: 16, metadataBytes: 1, entries: 1 },
		tensors: [tensor],
		files: [{ name: HOSTILE, bytes: 16, rank: 0, share: 0 }],
		sourceFiles: [{ path: HOSTILE, bytes: 16, neededBytes: 16, fetchBytes: 16 }],
		shares: [
			{ name: HOSTILE, host: HOSTILE, fetchBytes: 1, writeBytes: 1, requests: 1, entries: 1 },
		],
		timelines: [
			{
				share: 0,
				worker: 0,
				host: HOSTILE,
				begun: HOSTILE,
				ended: HOSTILE,
				attempts: 1,
				takenOver: false,
				points: [[1, 1, 1, 0]],
			},
		],
		dropped: [note],
		tied: [note],
		dequantised: [note],
		synthesised: [HOSTILE],
		objects: [HOSTILE],
		warnings: [HOSTILE],
		problems: [HOSTILE],
		unknown: [HOSTILE],
	};
}

/** Four shares of three workers in ten seconds: one was taken over, one met retries. */
export function timelinesOfFour(): ReportData["timelines"] {
	const share = (
		index: number,
		worker: number,
		from: number,
		to: number,
		retriesAt = -1,
	): ReportData["timelines"][number] => ({
		share: index,
		worker,
		host: `node-${worker}`,
		begun: new Date(Date.UTC(2026, 10, 28, 3, 0, from)).toISOString(),
		ended: new Date(Date.UTC(2026, 10, 28, 3, 0, to)).toISOString(),
		attempts: index === 3 ? 2 : 1,
		takenOver: index === 3,
		points: Array.from({ length: 40 }, (_, i) => {
			const part = (i + 1) / 40;
			const eased = part - Math.sin(part * 2 * Math.PI * 2) / 16;
			return [
				part * (to - from),
				2e9 * eased,
				2e9 * Math.max(0, eased - 0.02),
				retriesAt >= 0 && i >= retriesAt ? 3 : 0,
			] as const;
		}),
	});
	return [share(0, 0, 0, 6), share(1, 1, 0, 7, 20), share(2, 2, 1, 5), share(3, 0, 6, 10)];
}
