/** `npm run simulate -- --seeds N`: see docs/simulate.md. */
import { runSimulation } from './run.ts';

process.exitCode = await runSimulation(process.argv.slice(2));
