/**
 * The claim directory on the target node: the contract between the agent (TypeScript) and the runtime handler (sh).
 *
 * /var/lib/shadow/staged/<claim>/
 *   pod                     "<namespace>/<name>" the checkpoint is for; the handler refuses any other pod
 *   containers              names to restore, one a line, in start order
 *   waiting/<container>     written by the handler while it waits in `create`
 *   open                    the copy is not to be fenced: its app's calls to the outside are idempotent
 *   attempt                 nonce of this `prepare`: a handler that waited for an earlier one refuses
 *   received                written when the manifest agreed: the checkpoint is all here
 *   imported                the checkpoint is, or was to be, in containerd's image store as well (transferMode Direct)
 *   copy                    uid of the only pod that may take it
 *   fenced, locked          written by the handler: the pod's network has these rules; `locked` holds the old IP they are for
 *   oldip                   IP of the source pod at the cut; there before READY where all of the pod is restored
 *   hostname                what the restored processes are to take for the host's name; absent: as in the checkpoint
 *   READY                   written last, by rename: all images are there
 *   CANCEL                  written by an abort: the wait ends, the create fails
 *   <container>/checkpoint/ CRIU images
 *   <container>/rootfs.tar  changed files, laid over the new rootfs (xattrs kept), after
 *   <container>/removed     what goes from it first: whiteouts and directories made anew, NUL-terminated, parents first
 *   emptydir/<volume>.tar   contents of emptyDirs, put into the copy's volumes by the agent before READY
 *   restored/<container>    written by the handler after runc restore: the container id
 *   failed/<container>      written by the handler when runc restore failed: last lines of restore.log
 *
 * /var/lib/shadow/taken/<pod uid>/<container>: written after a successful restore; from then on `create` of that container
 * in that pod is a plain one (a later crash starts fresh, never from stale memory).
 */
export const STAGED = {
  pod: 'pod',
  open: 'open',
  containers: 'containers',
  waiting: 'waiting',
  oldIP: 'oldip',
  hostname: 'hostname',
  ready: 'READY',
  cancel: 'CANCEL',
  restored: 'restored',
  failed: 'failed',
  emptyDir: 'emptydir',
} as const;

/** nftables tables in the pod's network namespace, family inet. */
export const NFT = {
  /** While a pod is being restored: loopback TCP is dropped, nothing leaves with the old address. */
  restore: 'shadow_restore',
  /** A copy before its commit, a source's app from its cut on. */
  fence: 'shadow_fence',
  /** A source that goes on beside its copy, from its cut on: connections are tracked, so that its fence knows replies. */
  track: 'shadow_track',
  /** A superseded source: who comes to its app's ports is turned to its sidecar, which passes them on to the copy. */
  forward: 'shadow_forward',
  /** A superseded source without our sidecar: who comes to its app's ports is sent on to the copy by the kernel. */
  divert: 'shadow_divert',
  /** The same to ports that nobody knows, to prove the way first. */
  trial: 'shadow_trial',
  /** Its app stands still for good: what of TCP is not sent on is refused. */
  still: 'shadow_still',
} as const;

/** Longest wait of the handler in `create`, seconds; the kubelet's own call has 120. */
export const HANDLER_WAIT_SECONDS = 90;
