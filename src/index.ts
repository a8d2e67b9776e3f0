export { convert } from "./conversion/convert.ts";
export { type Preparation, type PrepareOptions, prepareConversion } from "./conversion/prepare.ts";
export type { ConvertSummary, FoundSummary } from "./conversion/summary.ts";
export { lintCheckpoint, type LintReport } from "./conversion/lint-checkpoint.ts";
export type { TrainerKeys } from "./conversion/lint-trainer.ts";
export type { LoadCosts, Spread } from "./lint/lint-index.ts";
export type { LintFinding, LintKind, RankCost, TensorCost } from "./lint/types.ts";
export { exportCheckpoint } from "./conversion/export/export-checkpoint.ts";
export type {
	ExportedConstant,
	ExportedCopy,
	ExportSummary,
} from "./conversion/export/export-summary.ts";
export { DEFAULT_SHARD_BYTES, type ExportOptions, parseExportOptions } from "./export-options.ts";
export type { ExportDtype, Rounding } from "./export/plan-export.ts";
export { inspectCheckpoint, inspectSource } from "./inspect.ts";
export { verifyCheckpoint, type VerifyOptions } from "./verify-checkpoint.ts";
export type { VerifyLevel } from "./verify/entry-check.ts";
export { type Problem, PROBLEM_KINDS, type ProblemKind } from "./verify/problem.ts";
export type {
	VerifiedOrigin,
	VerifyCounts,
	VerifyProgress,
	VerifyReport,
} from "./verify/report.ts";
export { reportOfCheckpoint, reportOfPlan, writeReport } from "./make-report.ts";
export { renderReport } from "./report/render-report.ts";
export type {
	ReportData,
	ReportEntry,
	ReportFile,
	ReportMesh,
	ReportOrigin,
	ReportShare,
	ReportSourceFile,
	ReportTensor,
	ReportTimeline,
	ReportTotals,
} from "./report/report-data.ts";
export type { HolderSets } from "./plan/holder-sets.ts";
export { inspectTensor } from "./conversion/inspect/inspect-tensor.ts";
export type {
	InspectedSource,
	InspectedTensor,
	InspectTensorOptions,
	StoredPiece,
} from "./conversion/inspect/inspected-tensor.ts";
export type { Complex, ElementValue } from "./values/elements.ts";
export type { Comparison } from "./values/compare.ts";
export type { MeasuredTensor } from "./values/measure.ts";
export type { ReadCounters } from "./values/joined-reads.ts";
export type { ShownElements } from "./values/shown-elements.ts";
export type { TensorStatistics } from "./values/statistics.ts";
export {
	type ModuleNode,
	moduleTree,
	type TreeItem,
	type TreeTensor,
} from "./values/module-tree.ts";
export { type DirectoryKind, directoryKind } from "./checkpoint/directory-kind.ts";
export {
	type ConversionOptions,
	type ConvertOptions,
	DEFAULT_CONNECTIONS,
	DEFAULT_LEASE_SECONDS,
	DEFAULT_MEMORY_BYTES,
	DEFAULT_TARGET,
	type Environment,
	type LintOptions,
	type WorkerIdentity,
} from "./options.ts";
export { parseSize } from "./option-fields.ts";
export {
	type OptionIssue,
	parseConversionOptions,
	parseConvertOptions,
	parseLintOptions,
} from "./parse-options.ts";
export { listFamilies, listTargets } from "./models/map-model.ts";
export {
	checkFamily,
	type CheckFamilyOptions,
	type FamilyProblem,
	type FamilyReport,
} from "./conversion/family/check-family.ts";
export { isFamilyFile } from "./conversion/family/read-family.ts";
export { defineFamily, type FamilyInput } from "./models/schema/parse-family.ts";
export { builtInFamily } from "./models/registry.ts";
export type { DropRule, Family, FamilyItem } from "./models/family.ts";
export type { NumberRule, NumberText } from "./models/numbers.ts";
export type { Pattern } from "./models/pattern.ts";
export type { Template } from "./models/template.ts";
export type { Coverage, DroppedTensors } from "./plan/coverage.ts";
export type { ParallelismInput } from "./layout/parallelism.ts";
export type { TargetDtype } from "./plan/create-plan.ts";
export type {
	AxisSpan,
	Plan,
	PlanEntry,
	PlanLimits,
	PlanRange,
	PlanSlab,
	PlanTensor,
	PlanTile,
	PlanTotals,
} from "./plan/types.ts";
export {
	type CheckpointIndex,
	type CheckpointObject,
	type CheckpointTensor,
	STATE_NAME,
} from "./core/checkpoint.ts";
export type { ReadCheckpoint } from "./dcp/checkpoint-reader.ts";
export type { OpenedSource, SourceBeside } from "./fetch/open-source.ts";
export type { Source, SourceFile, SourceTensor } from "./core/source.ts";
export type { SourceNote } from "./core/recipe.ts";
export type { Box } from "./core/box.ts";
export type { Dtype } from "./core/dtype.ts";
export type { Shape } from "./core/shape.ts";
export type { Entry, WriteCounters } from "./core/ports.ts";
export type { Expr } from "./core/expr.ts";
export { DTYPES } from "./core/dtype.ts";
export { type ErrorCode, EXIT_CODES, HfStreamDcpError, isHfStreamDcpError } from "./core/errors.ts";
export type { EventListener, ProgressEvent } from "./core/events.ts";
export type { DeviceOption, GpuCounters, GpuFacts } from "./core/device.ts";
export type { DeviceChoice, DeviceReason } from "./threads/choose-device.ts";
export type { DeviceSummary } from "./threads/device-run.ts";
export type { ThreadsOption, ThreadsReason } from "./threads/choose-threads.ts";
export { identifyWorker, LOCAL_WORKERS_VARIABLE } from "./launch/identify-worker.ts";
export type { IdentifyRequest } from "./launch/identify-worker.ts";
export type { LaunchedWorker, Launcher, LaunchEnvironment, Place } from "./launch/types.ts";
export type { Transport } from "./threads/count-events.ts";
export type { LayoutOrigin } from "./conversion/arrange-model.ts";
export type { LocalOutputCost } from "./conversion/local-output.ts";
export type { PlannedWorker } from "./conversion/planned-workers.ts";
export type { Balance } from "./plan/share-facts.ts";
export type { PlannedThread } from "./threads/plan-threads.ts";
export type { ShareSummary } from "./threads/run-share.ts";
export type { WorkedShare } from "./conversion/run-job.ts";
export type {
	CommandFacts,
	JobSummary,
	ShareTimeline,
	TimePoint,
	WorkerSummary,
	WorkFigures,
} from "./core/job-summary.ts";
export { readManifest } from "./manifest/read.ts";
export {
	type Manifest,
	MANIFEST_NAME,
	type ManifestEntry,
	type ManifestTensor,
} from "./manifest/manifest.ts";
export type { LayoutRules } from "./core/layout.ts";
export type { ModelFacts, OtherHeads } from "./core/model-facts.ts";
export { diagnose, type DiagnoseOptions } from "./doctor/diagnose.ts";
export type { Diagnosis, GpuDiagnosis, MachineFacts } from "./doctor/diagnosis.ts";
export {
	verifyAgainstCheckpoint,
	type VerifyAgainstCheckpointOptions,
} from "./verify-against-checkpoint.ts";
export {
	DEFAULT_SAMPLE,
	verifyAgainstSource,
	type VerifyAgainstSourceOptions,
} from "./verify-against-source.ts";
export type { SourceComparison } from "./verify/against-source.ts";
export type { CheckpointComparison, ComparedTensorFacts } from "./verify/against-checkpoint.ts";
export type { DifferentElement, TensorDifference } from "./verify/compare/difference-tally.ts";
export type { ElementText } from "./verify/compare/element.ts";
export { VERSION } from "./version.ts";
