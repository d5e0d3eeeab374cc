/** Names that manifests, harness and apps agree on. Pure. */
import { EVENTS } from '../../manifests/examples/broker.ts';
import { BROKER } from '../playground/layout.ts';

export const { exchange: EXCHANGE, queue: QUEUE } = EVENTS;
/** As pods reach it. */
export const BROKER_URL = `amqp://${BROKER.user}:${BROKER.password}@rabbitmq.rabbitmq.svc.cluster.local:${BROKER.port}`;
export const NAMESPACE = 'shadow-eval';
/** Of the set or Deployment, its containers, its label `app` and its Service. */
export const NAME = 'consumer';
