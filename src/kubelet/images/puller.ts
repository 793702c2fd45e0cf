import { createHash } from 'node:crypto';
import {
  AgentError,
  type Clock,
  describeError,
  errorCode,
  formatGoDuration,
  type ImageReference,
  isAbort,
  type Logger,
  orAbort,
  parseImageReference,
  Semaphore,
  withDefaultTag,
} from '../../core/index.ts';
import type { AuthConfig, CriImage, ImageService, PodSandboxConfig } from '../../cri/types.ts';
import type { Pod, Secret } from '../../kube/index.ts';
import { pullFailure } from './failure.ts';
import { type CredentialRule, createKeyring } from './keyring.ts';
import { defaultPullPolicy } from './policy.ts';
import { ImagePresence } from './presence.ts';
import { readPullSecrets } from './pull-secrets.ts';
import { type Download, watchForStall } from './stall.ts';

/** Pull backoff: kubelet pkg/kubelet/kubelet.go, 10 s doubling to 5 min, per pod and image. */
const INITIAL_MS = 10_000;
const MAX_MS = 300_000;
const MAX_BACKOFFS = 2_000;

export interface ImagePullerOptions {
  images: ImageService;
  clock: Clock;
  log: Logger;
  /** Reads a Secret for imagePullSecrets. */
  secret(namespace: string, name: string, signal: AbortSignal): Promise<Secret>;
  /** The node's own credentials for an image, named as in `docker.io/library/busybox`; does not reject. */
  nodeCredentials?(image: string): Promise<readonly CredentialRule[]>;
  /** Credentials the node has for that registry otherwise. */
  authFor?(reference: ImageReference): readonly AuthConfig[];
  /** Waits while the image may still arrive without a pull: air-gap archives being imported. */
  arrival?(image: string, signal: AbortSignal): Promise<void>;
  /** What the runtime downloads right now; left out: pulls that stall are left to it. */
  downloads?(signal: AbortSignal): Promise<readonly Download[]>;
  /** Pulls at once; 2 when left out. 1 is the kubelet's serializeImagePulls. */
  maxParallel?: number;
}

export interface ImageRequest {
  pod: Pod;
  container: { name: string; image?: string; imagePullPolicy?: string };
  sandbox?: PodSandboxConfig | undefined;
  /** Records an event on the container. */
  event(type: 'Normal' | 'Warning', reason: string, message: string): void;
  /** Records an event on the pod. */
  podEvent(type: 'Normal' | 'Warning', reason: string, message: string): void;
  signal: AbortSignal;
}

/**
 * Why an image can't be had. `code` is the waiting reason: `InvalidImageName`, `ImageInspectError`,
 * `ErrImageNeverPull`, `ErrImagePull`, `RegistryUnavailable`, `SignatureValidationFailed`, `ImagePullBackOff`. `retryAt`: monotonic milliseconds.
 */
export class ImageError extends AgentError {
  readonly retryAt: number;
  constructor(code: string, message: string, retryAt: number) {
    super({ code, message });
    this.retryAt = retryAt;
  }
}

interface BackoffEntry {
  delayMs: number;
  updatedAt: number;
  error: string;
}

interface Pulled {
  image: CriImage;
  pullMs: number;
  totalMs: number;
}

/** Gets images for containers by their pull policy; one pull per image however many ask. */
export class ImagePuller {
  readonly #options: ImagePullerOptions;
  readonly #slots: Semaphore;
  readonly #pulls = new Map<string, Promise<Pulled>>();
  readonly #backoffs = new Map<string, BackoffEntry>();
  readonly presence: ImagePresence;

  constructor(options: ImagePullerOptions) {
    this.#options = options;
    this.#slots = new Semaphore(Math.max(1, options.maxParallel ?? 2));
    this.presence = new ImagePresence(options.images);
  }

  /** The image, pulled if the policy says so. Throws {@link ImageError}, or an AbortError. */
  async ensure(request: ImageRequest): Promise<CriImage> {
    const { pod, container, event, signal } = request;
    const { clock } = this.#options;
    const text = container.image ?? '';
    const parsed = parseImageReference(text);
    if (!parsed.ok) {
      const message = `Failed to apply default image tag "${text}": couldn't parse image name "${text}": ${parsed.error}`;
      event('Warning', 'InspectFailed', message);
      throw new ImageError('InvalidImageName', message, clock.monotonic() + MAX_MS);
    }
    const image = withDefaultTag(text, parsed.reference);
    const policy = container.imagePullPolicy || defaultPullPolicy(parsed.reference);
    let present = await this.#present(image, text, request);
    if (!present && this.#options.arrival) {
      await this.#options.arrival(image, signal);
      present = await this.#present(image, text, request);
    }
    if (present && policy !== 'Always') {
      event('Normal', 'Pulled', `Container image "${text}" already present on machine and can be accessed by the pod`);
      return present;
    }
    if (policy === 'Never') {
      const message = `Container image "${text}" is not present with pull policy of Never`;
      event('Warning', 'ErrImageNeverPull', message);
      throw new ImageError('ErrImageNeverPull', message, clock.monotonic() + INITIAL_MS);
    }
    const key = `${pod.metadata.uid}_${text}`;
    const entry = this.#backoffs.get(key);
    if (entry && clock.monotonic() < entry.updatedAt + entry.delayMs) {
      event('Normal', 'BackOff', `Back-off pulling image "${text}"`);
      throw new ImageError(
        'ImagePullBackOff',
        `Back-off pulling image "${text}": ${entry.error}`,
        entry.updatedAt + entry.delayMs,
      );
    }
    event('Normal', 'Pulling', `Pulling image "${text}"`);
    try {
      const pulled = await orAbort(this.#pull(image, parsed.reference, request), signal);
      this.#backoffs.delete(key);
      event(
        'Normal',
        'Pulled',
        `Successfully pulled image "${text}" in ${goMillis(pulled.pullMs)} (${goMillis(pulled.totalMs)} including waiting). Image size: ${pulled.image.size} bytes.`,
      );
      return pulled.image;
    } catch (error) {
      if (signal.aborted || isAbort(error)) throw error;
      const { reason, message } = pullFailure(image, error);
      event('Warning', 'Failed', `Failed to pull image "${text}": ${message}`);
      this.#fail(key, `${reason}: ${message}`);
      throw new ImageError(reason, message, clock.monotonic() + INITIAL_MS / 2);
    }
  }

  /** Drops what is remembered for a pod that is gone. */
  forgetPod(uid: string): void {
    for (const key of this.#backoffs.keys()) if (key.startsWith(`${uid}_`)) this.#backoffs.delete(key);
  }

  async #present(image: string, text: string, request: ImageRequest): Promise<CriImage | undefined> {
    try {
      return await orAbort(this.presence.find(image), request.signal);
    } catch (error) {
      if (isAbort(error)) throw error;
      const message = `Failed to inspect image "${text}": ${describeError(error)}`;
      request.event('Warning', 'InspectFailed', message);
      throw new ImageError('ImageInspectError', message, this.#options.clock.monotonic() + INITIAL_MS / 2);
    }
  }

  /** Pulls are shared only by those who bring the same credentials: an image is not to be had through another's. */
  async #pull(image: string, reference: ImageReference, request: ImageRequest): Promise<Pulled> {
    const auths = await this.#credentials(reference, request);
    const key = `${image} ${createHash('sha256').update(JSON.stringify(auths)).digest('base64')}`;
    let pull = this.#pulls.get(key);
    if (pull === undefined) {
      pull = this.#pullOnce(image, auths, request).finally(() => this.#pulls.delete(key));
      this.#pulls.set(key, pull);
    }
    return pull;
  }

  /** Not bound to the first asker's signal: others may wait for the same image, and a started pull is worth keeping. */
  async #pullOnce(image: string, auths: readonly (AuthConfig | undefined)[], request: ImageRequest): Promise<Pulled> {
    const { clock } = this.#options;
    const asked = clock.monotonic();
    return this.#slots.run(async () => {
      const began = clock.monotonic();
      let failure: unknown;
      for (const auth of auths) {
        try {
          const ref = await this.#attempt(image, auth, request.sandbox);
          this.presence.changed();
          const done = clock.monotonic();
          const found = (await this.presence.find(image)) ?? (await this.presence.find(ref));
          if (found) return { image: found, pullMs: done - began, totalMs: done - asked };
          failure = new AgentError({
            code: 'IMAGE_VANISHED',
            message: `image "${image}" is gone right after its pull`,
          });
        } catch (error) {
          failure = error;
        }
      }
      throw failure;
    });
  }

  /** One set of credentials; cut off when nothing comes any more, and begun again at once if something had come. */
  async #attempt(image: string, auth: AuthConfig | undefined, sandbox: PodSandboxConfig | undefined): Promise<string> {
    const { images, downloads, clock, log } = this.#options;
    for (;;) {
      const over = new AbortController();
      const { signal } = over;
      const pull = images.pullImage({ image, userSpecifiedImage: image }, auth, sandbox, { signal });
      if (downloads === undefined) return await pull;
      try {
        return await Promise.race([pull, watchForStall({ image, downloads, clock, log, signal })]);
      } catch (error) {
        if (errorCode(error) !== 'PULL_STALLED_LATE') throw error;
        log.warn('a pull made no progress and is begun again', { image, error: describeError(error) });
      } finally {
        over.abort();
        pull.catch(() => {});
      }
    }
  }

  async #credentials(reference: ImageReference, request: ImageRequest): Promise<(AuthConfig | undefined)[]> {
    const { secret, nodeCredentials, authFor } = this.#options;
    const { rules, missing } = await readPullSecrets(request.pod, (ns, name) => secret(ns, name, request.signal));
    if (missing.length > 0)
      request.podEvent(
        'Warning',
        'FailedToRetrieveImagePullSecret',
        `Unable to retrieve some image pull secrets (${missing.join(', ')}); attempting to pull the image may not succeed.`,
      );
    const node = (await nodeCredentials?.(`${reference.domain}/${reference.path}`)) ?? [];
    const found = [...createKeyring(rules).find(reference), ...createKeyring(node).find(reference)];
    found.push(...(authFor?.(reference) ?? []));
    return found.length > 0 ? found.slice(0, 16) : [undefined];
  }

  #fail(key: string, error: string): void {
    const now = this.#options.clock.monotonic();
    const before = this.#backoffs.get(key);
    const anew = before === undefined || now - before.updatedAt > 2 * MAX_MS;
    const delayMs = anew ? INITIAL_MS : Math.min(before.delayMs * 2, MAX_MS);
    this.#backoffs.delete(key);
    this.#backoffs.set(key, { delayMs, updatedAt: now, error });
    if (this.#backoffs.size > MAX_BACKOFFS) this.#backoffs.delete(this.#backoffs.keys().next().value as string);
  }
}

/** A duration to the millisecond as Go prints it: `523ms`, `1.204s`, `1m2.5s`. */
export function goMillis(ms: number): string {
  return formatGoDuration(Math.floor(ms));
}
