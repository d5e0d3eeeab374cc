/** The configuration of every part, as text or arguments. Pure. */
import { join } from 'node:path';
import type { V1EndpointSlice, V1Service } from '@kubernetes/client-node';
import {
  ADDRESS,
  BROKER,
  CLUSTER_CIDR,
  DNS_SERVICE,
  type NodeName,
  nodeAddress,
  nodeCgroup,
  nodeDir,
  podCidr,
  RUN,
  SERVICE_CIDR,
} from './layout.ts';

export const PKI = join(RUN, 'pki');
const pki = (name: string): string => join(PKI, name);
const ETCD_URL = 'http://127.0.0.1:2379';

export interface Host {
  /** CAP_SYS_RESOURCE is held: oom_score_adj may be lowered and rlimits of others read. */
  readonly sysResource: boolean;
}

/** In the network namespace of the control plane: its loopback is not the machine's. */
export const etcdArgs = (): string[] => [
  `--data-dir=${join(RUN, 'etcd')}`,
  `--listen-client-urls=${ETCD_URL}`,
  `--advertise-client-urls=${ETCD_URL}`,
  '--listen-peer-urls=http://127.0.0.1:2380',
  // The data lives as long as the playground: no disk needs to be waited for.
  '--unsafe-no-fsync',
];

export const apiserverArgs = (): string[] => [
  `--etcd-servers=${ETCD_URL}`,
  '--secure-port=6443',
  '--bind-address=0.0.0.0',
  `--advertise-address=${ADDRESS.control}`,
  `--tls-cert-file=${pki('apiserver.crt')}`,
  `--tls-private-key-file=${pki('apiserver.key')}`,
  `--client-ca-file=${pki('ca.crt')}`,
  `--service-account-key-file=${pki('sa.pub')}`,
  `--service-account-signing-key-file=${pki('sa.key')}`,
  '--service-account-issuer=https://kubernetes.default.svc',
  `--service-cluster-ip-range=${SERVICE_CIDR}`,
  '--authorization-mode=Node,RBAC',
  '--enable-admission-plugins=NodeRestriction',
  `--kubelet-client-certificate=${pki('kubelet-client.crt')}`,
  `--kubelet-client-key=${pki('kubelet-client.key')}`,
  `--kubelet-certificate-authority=${pki('ca.crt')}`,
  '--kubelet-preferred-address-types=InternalIP',
  '--allow-privileged=true',
];

export const controllerManagerArgs = (): string[] => [
  `--kubeconfig=${pki('controller-manager.conf')}`,
  `--service-account-private-key-file=${pki('sa.key')}`,
  `--root-ca-file=${pki('ca.crt')}`,
  '--use-service-account-credentials',
  `--cluster-cidr=${CLUSTER_CIDR}`,
  '--leader-elect=false',
  // Three words missed of a kubelet, which reports every 10 s: a test with a dead node waits for no more.
  '--node-monitor-grace-period=30s',
];

export const schedulerArgs = (): string[] => [`--kubeconfig=${pki('scheduler.conf')}`, '--leader-elect=false'];

/**
 * For a node, and for the control plane's namespace: there it serves the API server's webhook calls and the machine's
 * own way to ClusterIPs. It needs some node's name to start at once; no rule of ours depends on which.
 */
export const proxyArgs = (node: NodeName, address: string): string[] => [
  `--kubeconfig=${pki('proxy.conf')}`,
  `--hostname-override=${node}`,
  `--bind-address=${address}`,
  `--cluster-cidr=${CLUSTER_CIDR}`,
  '--proxy-mode=nftables',
  '--healthz-bind-address=127.0.0.1:10256',
  // The conntrack table's size belongs to the machine, not to a network namespace.
  '--conntrack-max-per-core=0',
  '--conntrack-tcp-timeout-established=0',
  '--conntrack-tcp-timeout-close-wait=0',
];

export const corefile = (): string => `.:53 {
    bind ${ADDRESS.control}
    errors
    health 127.0.0.1:8080
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig ${pki('coredns.conf')} playground
        ttl 5
    }
    cache 5
    loadbalance
}
`;

export const containerdToml = ({ sysResource }: Host): string => `version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins.'io.containerd.internal.v1.opt']
  path = "/var/lib/containerd/opt"
[plugins.'io.containerd.nri.v1.nri']
  disable = true
[plugins.'io.containerd.cri.v1.images']
  use_local_image_pull = true
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "localhost/pause:1"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = ${!sysResource}
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "/etc/cni/net.d"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = "/usr/local/sbin/runc"
      SystemdCgroup = false
`;

export const kubeletConfig = (node: NodeName): string =>
  JSON.stringify({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: pki('ca.crt') },
    },
    authorization: { mode: 'Webhook' },
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${nodeCgroup(node)}`,
    clusterDomain: 'cluster.local',
    clusterDNS: [DNS_SERVICE],
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    tlsCertFile: pki(`${node}.crt`),
    tlsPrivateKeyFile: pki(`${node}.key`),
    resolvConf: join(nodeDir(node), 'resolv.conf'),
    volumePluginDir: '/var/lib/kubelet/volumeplugins',
    failSwapOn: false,
    makeIPTablesUtilChains: false,
    syncFrequency: '10s',
    nodeStatusUpdateFrequency: '5s',
    // Both nodes see the machine's whole memory and disk: only a machine truly short of them evicts.
    evictionHard: { 'memory.available': '50Mi' },
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
  });

export const kubeletArgs = (node: NodeName): string[] => [
  `--config=${join(nodeDir(node), 'kubelet.json')}`,
  `--kubeconfig=${pki(`${node}.conf`)}`,
  `--hostname-override=${node}`,
  `--node-ip=${nodeAddress(node)}`,
];

/**
 * ptp, not bridge: every packet between pods of a node is routed, so that kube-proxy's rules see both directions
 * without br_netfilter. Leases live in /run: a power cut frees them with the pods.
 */
export const cniConfig = (node: NodeName): string =>
  JSON.stringify({
    cniVersion: '1.0.0',
    name: 'pods',
    plugins: [
      {
        type: 'ptp',
        ipMasq: false,
        ipam: {
          type: 'host-local',
          dataDir: '/run/cni/ipam',
          ranges: [[{ subnet: podCidr(node) }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
      { type: 'portmap', capabilities: { portMappings: true }, snat: true },
    ],
  });

/** `pki`: where it finds ca.crt, rabbitmq.crt and rabbitmq.key. A client may show a certificate; it need not. */
export const rabbitmqConf = (pki: string): string => `listeners.tcp.default = ${BROKER.port}
listeners.ssl.default = ${BROKER.tlsPort}
ssl_options.cacertfile = ${pki}/ca.crt
ssl_options.certfile = ${pki}/rabbitmq.crt
ssl_options.keyfile = ${pki}/rabbitmq.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
loopback_users = none
default_user = ${BROKER.user}
default_pass = ${BROKER.password}
vm_memory_high_watermark.absolute = 512MiB
disk_free_limit.absolute = 50MB
log.file.level = warning
`;

/** A Service without selector, and the slice that gives it its endpoint: a process of the playground, not a pod. */
const fixedService = (
  namespace: string,
  name: string,
  address: string,
  ports: readonly { name: string; port: number; protocol: string }[],
  clusterIP?: string,
): [V1Service, V1EndpointSlice] => [
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace, name },
    spec: { ports: [...ports], ...(clusterIP === undefined ? {} : { clusterIP }) },
  },
  {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      namespace,
      name,
      labels: { 'kubernetes.io/service-name': name, 'endpointslice.kubernetes.io/managed-by': 'playground' },
    },
    addressType: 'IPv4',
    endpoints: [{ addresses: [address], conditions: { ready: true } }],
    ports: [...ports],
  },
];

const rule = (apiGroups: string[], resources: string[]) => ({ apiGroups, resources, verbs: ['get', 'list', 'watch'] });

/** What the cluster needs beyond its parts: names for DNS and the broker, and what CoreDNS and kube-proxy may read. */
export const baseObjects = (): object => ({
  apiVersion: 'v1',
  kind: 'List',
  items: [
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: 'system:coredns' },
      rules: [
        rule([''], ['endpoints', 'services', 'pods', 'namespaces']),
        rule(['discovery.k8s.io'], ['endpointslices']),
      ],
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: 'system:coredns' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'system:coredns' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'system:coredns' }],
    },
    ...fixedService(
      'kube-system',
      'kube-dns',
      ADDRESS.control,
      [
        { name: 'dns', port: 53, protocol: 'UDP' },
        { name: 'dns-tcp', port: 53, protocol: 'TCP' },
      ],
      DNS_SERVICE,
    ),
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'rabbitmq' } },
    ...fixedService('rabbitmq', 'rabbitmq', ADDRESS.broker, [
      { name: 'amqp', port: BROKER.port, protocol: 'TCP' },
      { name: 'amqps', port: BROKER.tlsPort, protocol: 'TCP' },
    ]),
  ],
});
