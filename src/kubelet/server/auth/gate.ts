import type { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { Clock, Logger } from '../../../core/index.ts';
import type { KubeClient } from '../../../kube/index.ts';
import { HttpFailure } from '../reply.ts';
import { parseTarget, type Target } from '../route.ts';
import { nodeAttributes } from './attributes.ts';
import { authorizer, forbiddenText } from './authorize.ts';
import { certificateIdentity } from './certificate.ts';
import { bearerToken, tokenReviewer } from './token.ts';

/**
 * Lets a request in, or throws HttpFailure: 401 without an identity, 403 without the right, 404 for a target that is no
 * path. Identity comes first, so that nobody unknown learns anything.
 */
export type Gate = (request: IncomingMessage) => Promise<Target>;

export function createGate(init: {
  kube: Pick<KubeClient, 'create'>;
  nodeName: string;
  /** The certificates that vouch for clients. */
  anchors(): readonly X509Certificate[];
  clock: Clock;
  log: Logger;
}): Gate {
  const { clock } = init;
  const authorize = authorizer(init);
  const review = tokenReviewer(init);

  const identify = async (request: IncomingMessage) => {
    const byCertificate = certificateIdentity(request.socket as TLSSocket, {
      anchors: init.anchors(),
      now: clock.now(),
    });
    if (byCertificate !== undefined) return byCertificate;
    const token = bearerToken(request.headers.authorization);
    return token === undefined ? undefined : review(token);
  };

  return async (request) => {
    const identity = await identify(request);
    if (identity === undefined) throw new HttpFailure(401, 'Unauthorized');
    const target = parseTarget(request.url ?? '');
    if (target === undefined) throw new HttpFailure(404, '404: Page Not Found');
    const attributes = nodeAttributes(request.method ?? '', target.path);
    if (!(await authorize(identity, attributes))) throw new HttpFailure(403, forbiddenText(identity, attributes));
    return target;
  };
}
