FROM node:26-bookworm-slim

WORKDIR /app
ENV NODE_ENV=production

COPY package.json package-lock.json ./
# Optional packages carry Node, NATS and Postgres for a laptop; here the image, the cluster and the database do.
RUN npm ci --omit=dev --omit=optional --no-audit --no-fund && npm cache clean --force

COPY . .

USER node
EXPOSE 8080
ENTRYPOINT ["node", "bin/signalbox.js"]
CMD ["serve"]
