import { KubeError } from '../../src/kube/index.ts';
import type { StorageNode } from '../../src/kubelet/index.ts';

type Dict = Record<string, unknown>;

/** Objects of storage at an API server in memory, and the node that is watched there. */
export class FakeStorageApi {
  readonly objects = new Map<string, Dict>();
  readonly writes: string[] = [];
  readonly events: string[] = [];
  readonly #watchers = new Set<() => void>();
  away = false;
  inUse: () => string[] | undefined = () => undefined;
  readonly node: StorageNode = {
    serverMinor: 36,
    client: {
      get: async (path: string) => this.#found(path),
      create: async (path: string, body: unknown) => this.#write('POST', path, body as Dict),
      replace: async (path: string, body: unknown) => this.#write('PUT', path, body as Dict),
      patch: async (path: string, _kind: string, body: unknown) => this.#patch(path, body as Dict),
    } as unknown as StorageNode['client'],
    node: () => this.objects.get('/api/v1/nodes/n1') as never,
    onNode: (handler) => {
      this.#watchers.add(handler);
      return () => this.#watchers.delete(handler);
    },
    inUseChanged: () => {
      const names = this.inUse() ?? [];
      this.update('/api/v1/nodes/n1', (node) => {
        node.status = { ...(node.status as Dict), volumesInUse: names };
      });
    },
    event: (pod, { type, reason, message }) => {
      this.events.push(`${pod.metadata.name} ${type} ${reason} ${message}`);
    },
  };

  constructor() {
    this.objects.set('/api/v1/nodes/n1', { metadata: { name: 'n1', uid: 'node-uid', labels: {}, annotations: {} } });
  }

  update(path: string, change: (object: Dict) => void): void {
    change(this.objects.get(path) as Dict);
    for (const watcher of [...this.#watchers]) watcher();
  }

  claim(name: string, volume: string, { spec = {}, claim = {} }: { spec?: Dict; claim?: Dict } = {}): void {
    this.objects.set(`/api/v1/namespaces/ns/persistentvolumeclaims/${name}`, {
      metadata: { name, namespace: 'ns', uid: `claim-${name}` },
      spec: { volumeName: volume },
      status: { phase: 'Bound', capacity: { storage: '1Gi' } },
      ...claim,
    });
    this.objects.set(`/api/v1/persistentvolumes/${volume}`, {
      metadata: { name: volume },
      spec: {
        claimRef: { uid: `claim-${name}`, name, namespace: 'ns' },
        accessModes: ['ReadWriteOnce'],
        capacity: { storage: '1Gi' },
        ...spec,
      },
    });
  }

  driver(name: string, spec: Dict): void {
    this.objects.set(`/apis/storage.k8s.io/v1/csidrivers/${name}`, { metadata: { name }, spec });
  }

  #found(path: string): Dict {
    if (this.away) throw new KubeError({ status: 0, code: 'KUBE_UNREACHABLE', message: 'connect ECONNREFUSED' });
    const object = this.objects.get(path);
    const [plural = '', name = ''] = path.split('/').slice(-2);
    if (!object) throw new KubeError({ status: 404, message: `${plural} "${name}" not found`, reason: 'NotFound' });
    return structuredClone(object);
  }

  #write(verb: string, path: string, body: Dict): Dict {
    if (verb === 'PUT') this.#found(path);
    const full = verb === 'POST' ? `${path}/${(body.metadata as Dict).name}` : path;
    this.writes.push(`${verb} ${full}`);
    this.objects.set(full, structuredClone(body));
    return body;
  }

  #patch(path: string, body: Dict): Dict {
    const full = path.replace(/\/status$/, '');
    this.#found(full);
    this.writes.push(`PATCH ${path}`);
    this.update(full, (object) => merge(object, body));
    return this.#found(full);
  }
}

function merge(object: Dict, patch: Dict): void {
  for (const [key, value] of Object.entries(patch))
    if (value === null) delete object[key];
    else if (typeof value === 'object' && !Array.isArray(value)) {
      const inner = (object[key] ?? {}) as Dict;
      object[key] = inner;
      merge(inner, value as Dict);
    } else object[key] = value;
}
