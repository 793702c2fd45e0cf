import { AgentError } from '../../core/index.ts';
import { isConflict, type KubeObject, type Node } from '../../kube/index.ts';
import type { StorageApi } from '../volumes/storage.ts';
import { orAbsent } from './objects.ts';

/** One driver as the CSINode shows it. */
export interface CsiNodeDriver {
  name: string;
  nodeID: string;
  topologyKeys: string[] | null;
  allocatable?: { count: number };
}

interface CsiNodeObject extends KubeObject {
  spec: { drivers: CsiNodeDriver[] };
}

export interface CsiNodeOptions {
  client: StorageApi;
  nodeName: string;
  serverMinor: number;
}

const NODE_IDS = 'csi.volume.kubernetes.io/nodeid';
const MIGRATED = 'storage.alpha.kubernetes.io/migrated-plugins';

/** In-tree volumes of clouds that servers hand to CSI drivers since (kubernetes pkg/volume/csimigration). */
function migrated(minor: number): string {
  const names = ['aws-ebs', 'azure-disk', 'azure-file', 'cinder', 'gce-pd', 'portworx-volume', 'vsphere-volume'];
  if (minor < 27) return '';
  const there = minor >= 31 ? names : names.filter((name) => name !== 'portworx-volume');
  return there.map((name) => `kubernetes.io/${name}`).join(',');
}

/** Makes the CSINode object if there is none: every node has one, with or without drivers. */
export async function ensureCsiNode(options: CsiNodeOptions, signal: AbortSignal): Promise<void> {
  await change(options, (drivers) => drivers, signal);
}

/** Says that a driver runs on this node: in the CSINode, in an annotation and in labels of the Node. */
export async function installDriver(
  driver: { name: string; nodeId: string; maxVolumes: number; segments: Record<string, string> },
  options: CsiNodeOptions,
  signal: AbortSignal,
): Promise<void> {
  const { name, nodeId, maxVolumes, segments } = driver;
  if (nodeId === '') throw new AgentError({ code: 'CSI_NODE', message: 'the driver gave no node id' });
  await patchNode(options, { name, nodeId, segments }, signal);
  const keys = Object.keys(segments).sort();
  const entry: CsiNodeDriver = {
    name,
    nodeID: nodeId,
    topologyKeys: keys.length > 0 ? keys : null,
    ...(maxVolumes > 0 ? { allocatable: { count: Math.min(maxVolumes, 2 ** 31 - 1) } } : {}),
  };
  await change(options, (drivers) => [...drivers.filter((d) => d.name !== name), entry], signal);
}

export async function uninstallDriver(name: string, options: CsiNodeOptions, signal: AbortSignal): Promise<void> {
  await change(options, (drivers) => drivers.filter((d) => d.name !== name), signal);
  await patchNode(options, { name, nodeId: undefined, segments: {} }, signal);
}

async function patchNode(
  { client, nodeName }: CsiNodeOptions,
  { name, nodeId, segments }: { name: string; nodeId: string | undefined; segments: Record<string, string> },
  signal: AbortSignal,
): Promise<void> {
  const path = `/api/v1/nodes/${encodeURIComponent(nodeName)}`;
  const node = await client.get<Node>(path, { signal });
  const { labels = {}, annotations = {} } = node.metadata;
  for (const [key, value] of Object.entries(segments))
    if (labels[key] !== undefined && labels[key] !== value)
      throw new AgentError({
        code: 'CSI_NODE',
        message: `detected topology value collision: driver reported "${key}":"${value}" but existing label is "${key}":"${labels[key]}"`,
      });
  const ids = nodeIds(annotations[NODE_IDS]);
  const before = JSON.stringify(ids);
  if (nodeId === undefined) delete ids[name];
  else ids[name] = nodeId;
  const missing = Object.entries(segments).filter(([key, value]) => labels[key] !== value);
  if (JSON.stringify(ids) === before && missing.length === 0) return;
  const sorted = Object.fromEntries(Object.entries(ids).sort(([a], [b]) => (a < b ? -1 : 1)));
  const text = Object.keys(ids).length > 0 ? JSON.stringify(sorted) : null;
  const metadata = {
    annotations: { [NODE_IDS]: text },
    ...(missing.length > 0 ? { labels: Object.fromEntries(missing) } : {}),
  };
  await client.patch(path, 'merge', { metadata }, { signal });
}

function nodeIds(text: string | undefined): Record<string, string> {
  try {
    const ids: unknown = JSON.parse(text ?? '{}');
    return typeof ids === 'object' && ids !== null ? (ids as Record<string, string>) : {};
  } catch {
    return {};
  }
}

/** Reads, changes and writes the CSINode, again if somebody else wrote meanwhile; writes nothing that is there already. */
async function change(
  { client, nodeName, serverMinor }: CsiNodeOptions,
  edit: (drivers: CsiNodeDriver[]) => CsiNodeDriver[],
  signal: AbortSignal,
): Promise<void> {
  const collection = '/apis/storage.k8s.io/v1/csinodes';
  const path = `${collection}/${encodeURIComponent(nodeName)}`;
  const plugins = migrated(serverMinor);
  for (let attempt = 0; ; attempt++) {
    const old = await orAbsent(client.get<CsiNodeObject>(path, { signal }));
    const before = old?.spec.drivers ?? [];
    const drivers = edit(before);
    const annotations = { ...old?.metadata.annotations, ...(plugins === '' ? {} : { [MIGRATED]: plugins }) };
    const same =
      JSON.stringify(before) === JSON.stringify(drivers) &&
      (old?.metadata.annotations?.[MIGRATED] ?? '') === (annotations[MIGRATED] ?? '');
    if (old && same) return;
    try {
      if (old)
        await client.replace(
          path,
          { ...old, metadata: { ...old.metadata, annotations }, spec: { ...old.spec, drivers } },
          { signal },
        );
      else await client.create(collection, await fresh(client, nodeName, { annotations, drivers }, signal), { signal });
      return;
    } catch (error) {
      if (!isConflict(error) || attempt >= 5) throw error;
    }
  }
}

/** Owned by the Node, with which it goes. */
async function fresh(
  client: StorageApi,
  name: string,
  { annotations, drivers }: { annotations: Record<string, string>; drivers: CsiNodeDriver[] },
  signal: AbortSignal,
) {
  const node = await client.get<Node>(`/api/v1/nodes/${encodeURIComponent(name)}`, { signal });
  const owner = { apiVersion: 'v1', kind: 'Node', name, uid: node.metadata.uid ?? '' };
  return {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'CSINode',
    metadata: { name, annotations, ownerReferences: [owner] },
    spec: { drivers },
  };
}
