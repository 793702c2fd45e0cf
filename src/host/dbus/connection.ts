import { createConnection, type Socket } from 'node:net';
import { AgentError } from '../../core/index.ts';
import {
  type DBusMessage,
  type DBusValue,
  decodeMessage,
  ERROR,
  encodeMessage,
  METHOD_CALL,
  METHOD_RETURN,
  messageLength,
  SIGNAL,
} from './wire.ts';

export interface DBusCall {
  destination: string;
  path: string;
  interface: string;
  member: string;
  /** Of the arguments, such as `su`. */
  signature?: string;
  body?: readonly DBusValue[];
}

export interface DBusSignal {
  /** Name of who sends it: everybody may send signals to everybody. */
  sender: string;
  path: string;
  interface: string;
  member: string;
}

/** A client of a message bus. */
export interface DBusConnection {
  /** The answer's values. Throws `DBUS_CALL` for an error of the other side, `DBUS_CLOSED` if there is no answer. */
  call(call: DBusCall): Promise<readonly DBusValue[]>;
  /** Calls `handler` with each signal of that name and sender from now on. */
  subscribe(match: DBusSignal, handler: (body: readonly DBusValue[]) => void): Promise<void>;
  /** Resolves with the reason when the connection has ended. */
  readonly closed: Promise<string>;
  close(): void;
}

const ANSWER_MS = 25_000;

/** Connects to the bus at a unix socket and introduces us. Throws `DBUS_CONNECT`. */
export async function connectDBus(path: string, uid = process.getuid?.() ?? 0): Promise<DBusConnection> {
  const bus = new Bus(createConnection(path));
  try {
    await bus.begin(uid);
    return bus;
  } catch (error) {
    bus.close();
    throw new AgentError({
      code: 'DBUS_CONNECT',
      message: `the message bus at ${path} can't be used: ${(error as Error).message}`,
      cause: error,
    });
  }
}

interface Waiter {
  resolve(body: readonly DBusValue[]): void;
  reject(error: Error): void;
  timer: NodeJS.Timeout;
}

class Bus implements DBusConnection {
  readonly closed: Promise<string>;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiter>();
  readonly #handlers: { interface: string; member: string; handler(body: readonly DBusValue[]): void }[] = [];
  #serial = 0;
  #data: Buffer = Buffer.alloc(0);
  /** Gets lines while the two sides introduce themselves. */
  #onLine: ((line: string) => void) | undefined;
  #end: (why: string) => void = () => {};

  constructor(socket: Socket) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => {
      this.#end = resolve;
    });
    socket.on('data', (chunk) => this.#read(chunk as Buffer));
    socket.on('error', (error) => this.#fail(error.message));
    socket.on('close', () => this.#fail('the bus closed the connection'));
    socket.unref();
  }

  async begin(uid: number): Promise<void> {
    const answer = new Promise<string>((resolve, reject) => {
      this.#onLine = resolve;
      void this.closed.then((why) => reject(new Error(why)));
      const timer = setTimeout(() => reject(new Error('no answer')), ANSWER_MS);
      timer.unref();
    });
    this.#socket.write(`\0AUTH EXTERNAL ${Buffer.from(String(uid)).toString('hex')}\r\n`);
    const line = await answer;
    if (!line.startsWith('OK ')) throw new Error(`it answers ${line.slice(0, 40)}`);
    this.#onLine = undefined;
    this.#socket.write('BEGIN\r\n');
    await this.call({ ...BUS, member: 'Hello' });
  }

  call(call: DBusCall): Promise<readonly DBusValue[]> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) return reject(closed('the connection has ended'));
      const serial = ++this.#serial;
      const timer = setTimeout(() => {
        this.#waiting.delete(serial);
        reject(closed(`no answer to ${call.member}`));
      }, ANSWER_MS);
      timer.unref();
      this.#waiting.set(serial, { resolve, reject, timer });
      const { signature = '', body = [] } = call;
      this.#socket.write(encodeMessage({ ...call, type: METHOD_CALL, serial, signature, body }));
    });
  }

  async subscribe(match: DBusSignal, handler: (body: readonly DBusValue[]) => void): Promise<void> {
    this.#handlers.push({ ...match, handler });
    const parts = (['sender', 'path', 'interface', 'member'] as const).map((part) => `${part}='${match[part]}'`);
    const rule = ["type='signal'", ...parts].join();
    await this.call({ ...BUS, member: 'AddMatch', signature: 's', body: [rule] });
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.#data = this.#data.length === 0 ? chunk : Buffer.concat([this.#data, chunk]);
    try {
      if (this.#onLine) {
        const end = this.#data.indexOf('\r\n');
        if (end < 0 && this.#data.length > 1_000) throw new Error('it does not speak D-Bus');
        if (end < 0) return;
        const line = this.#data.toString('latin1', 0, end);
        this.#data = this.#data.subarray(end + 2);
        this.#onLine(line);
        return;
      }
      for (;;) {
        const length = messageLength(this.#data);
        if (length === undefined || this.#data.length < length) return;
        const bytes = this.#data.subarray(0, length);
        this.#data = this.#data.subarray(length);
        this.#take(decodeMessage(bytes));
      }
    } catch (error) {
      this.#socket.destroy(error as Error);
    }
  }

  #take(message: DBusMessage): void {
    if (message.type === SIGNAL) {
      if (message.destination !== undefined) return; // to us alone: no rule of ours has looked at who sent it
      for (const { interface: name, member, handler } of this.#handlers)
        if (message.interface === name && message.member === member) handler(message.body);
      return;
    }
    const waiter = this.#waiting.get(message.replySerial ?? 0);
    if (waiter === undefined || (message.type !== METHOD_RETURN && message.type !== ERROR)) return;
    this.#waiting.delete(message.replySerial ?? 0);
    clearTimeout(waiter.timer);
    if (message.type === METHOD_RETURN) waiter.resolve(message.body);
    else
      waiter.reject(
        new AgentError({
          code: 'DBUS_CALL',
          message: `${message.errorName ?? 'error'}: ${String(message.body[0] ?? '').slice(0, 200)}`,
        }),
      );
  }

  #fail(why: string): void {
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(closed(why));
    }
    this.#waiting.clear();
    this.#end(why);
  }
}

const BUS = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
} as const;

function closed(message: string): AgentError {
  return new AgentError({ code: 'DBUS_CLOSED', message });
}
