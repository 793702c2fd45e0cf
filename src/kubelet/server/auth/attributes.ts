/** What the API server is asked about a request: may the caller do `verb` to one of `nodes/<subresource>` of this node? */
export interface NodeAttributes {
  /** Empty for methods the API knows no verb for; nobody is allowed that. */
  verb: string;
  /** Any one of them suffices; asked in this order. */
  subresources: readonly string[];
}

const VERB: Readonly<Record<string, string>> = {
  POST: 'create',
  GET: 'get',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};

/**
 * First segment of the path to subresources (upstream: pkg/kubelet/server/auth.go). The fine-grained ones of
 * Kubernetes 1.33 come first; older servers, whose roles don't know them, deny those and are asked about `proxy` next.
 */
const SUBRESOURCES: Readonly<Record<string, readonly string[]>> = {
  pods: ['pods', 'proxy'],
  runningpods: ['pods', 'proxy'],
  healthz: ['healthz', 'proxy'],
  configz: ['configz', 'proxy'],
  stats: ['stats'],
  metrics: ['metrics'],
  logs: ['log'],
  checkpoint: ['checkpoint'],
  statusz: ['statusz'],
  flagz: ['configz'],
};

/** The attributes of a request; `path` is decoded and begins with a slash. */
export function nodeAttributes(method: string, path: string): NodeAttributes {
  const first = path.split('/', 2)[1] ?? '';
  return {
    verb: VERB[method] ?? '',
    subresources: (Object.hasOwn(SUBRESOURCES, first) ? SUBRESOURCES[first] : undefined) ?? ['proxy'],
  };
}
