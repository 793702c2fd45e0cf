import { type Component, describeError, type Logger } from '../core/index.ts';

/**
 * Started parts, stopped in reverse order and each within a bound: a part that hangs must not keep the service from
 * stopping, nor the parts below it from saving what they have.
 */
export class Stack {
  readonly #log: Logger;
  readonly #started: { name: string; component: Component }[] = [];
  #stopping: Promise<void> | undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  async start<T extends Component>(name: string, component: T, signal: AbortSignal): Promise<T> {
    this.#started.push({ name, component });
    await component.start(signal);
    return component;
  }

  /** `eachMs`: how long one part may take. */
  stop(eachMs = 5_000): Promise<void> {
    this.#stopping ??= this.#stop(eachMs);
    return this.#stopping;
  }

  async #stop(eachMs: number): Promise<void> {
    for (const { name, component } of this.#started.splice(0).reverse()) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<'late'>((resolve) => {
        timer = setTimeout(resolve, eachMs, 'late');
      });
      try {
        if ((await Promise.race([component.stop(), late])) === 'late')
          this.#log.warn('a part did not stop in time and is left behind', { part: name });
      } catch (error) {
        this.#log.warn('a part failed to stop', { part: name, error: describeError(error) });
      } finally {
        clearTimeout(timer);
      }
    }
  }
}
