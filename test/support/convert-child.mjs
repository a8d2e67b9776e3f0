// One worker of a job, run with the built program: options as JSON; prints the summary's facts.
import { convert, parseConvertOptions } from "../../dist/src/index.js";

const summary = await convert(parseConvertOptions(JSON.parse(process.argv[2])));
const { outcome, fetchedBytes = 0 } = summary;
process.stdout.write(JSON.stringify({ outcome, fetchedBytes }));
