import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Attributes } from '../auth/attributes.ts';
import type { Decision } from '../auth/authorize.ts';
import type { User } from '../auth/identity.ts';
import type { TokenIssuer } from '../auth/service-account-tokens.ts';
import type { KubeletProxy } from '../kubelet/proxy.ts';
import type { Registry } from '../registry/registry.ts';
import type { WatchOptions } from './list-watch.ts';
import type { ResourcePath } from './request.ts';

/** What the handlers of the API share. */
export interface ApiContext {
  registry: Registry;
  tokens: TokenIssuer;
  authorize(attributes: Attributes): Decision;
  kubelets: KubeletProxy;
  watches: WatchOptions;
  /** `v1.36.3+k3s1` */
  version: string;
}

/** One request on a resource, authenticated and authorized. */
export interface Call {
  request: IncomingMessage;
  response: ServerResponse;
  user: User;
  path: ResourcePath;
  query: URLSearchParams;
}
