/** The sidecar's forwarder as a process of its own: `nsenter --net=… node forwarder.ts HOST`. Lingers on SIGTERM. */
import { SIDECAR } from '../../webhook/api/names.ts';
import { createForwarder } from '../../webhook/sidecar/forward.ts';

// Not before all is loaded: this tree may be closed to that user.
process.setgid?.(SIDECAR.uid);
process.setuid?.(SIDECAR.uid);
const forwarder = createForwarder();
process.on('SIGTERM', () => void forwarder.linger(300).then(() => process.exit(0)));
console.log(JSON.stringify(await forwarder.open(process.argv[2] ?? '', 500)));
