/** `npm run simulate -- --seeds N`: see `--help` and CONTRIBUTING.md. */
import { runSimulation } from './run.ts';

// Timers of processes that were killed in the middle of something must not keep this one.
process.exit(await runSimulation(process.argv.slice(2)));
