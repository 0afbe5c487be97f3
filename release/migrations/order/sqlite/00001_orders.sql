-- +goose Up
CREATE TABLE products (
    id          TEXT    NOT NULL,
    sku         TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    description TEXT    NOT NULL,
    -- SKU and name in lower case: what the search looks through, the same on each database.
    search_text TEXT    NOT NULL,
    price_minor INTEGER NOT NULL,
    currency    TEXT    NOT NULL,
    stock       INTEGER NOT NULL,
    active      INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    CONSTRAINT products_pkey PRIMARY KEY (id),
    CONSTRAINT products_sku_key UNIQUE (sku),
    CONSTRAINT products_price_check CHECK (price_minor >= 0),
    CONSTRAINT products_stock_check CHECK (stock >= 0)
) STRICT, WITHOUT ROWID;
CREATE INDEX products_newest ON products (created_at, id);

CREATE TABLE orders (
    id            TEXT    NOT NULL,
    number        TEXT    NOT NULL,
    buyer_id      TEXT    NOT NULL,
    status        TEXT    NOT NULL,
    total_minor   INTEGER NOT NULL,
    currency      TEXT    NOT NULL,
    reason        TEXT    NOT NULL,
    tracking_code TEXT    NOT NULL,
    version       INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    CONSTRAINT orders_pkey PRIMARY KEY (id),
    CONSTRAINT orders_number_key UNIQUE (number),
    CONSTRAINT orders_total_check CHECK (total_minor >= 0),
    CONSTRAINT orders_status_check CHECK (status IN ('pending', 'confirmed', 'rejected', 'shipped', 'delivered', 'cancelled'))
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_newest ON orders (created_at, id);
CREATE INDEX orders_of_buyer ON orders (buyer_id, created_at, id);

CREATE TABLE order_lines (
    order_id         TEXT    NOT NULL,
    position         INTEGER NOT NULL,
    product_id       TEXT    NOT NULL,
    sku              TEXT    NOT NULL,
    name             TEXT    NOT NULL,
    quantity         INTEGER NOT NULL,
    unit_price_minor INTEGER NOT NULL,
    CONSTRAINT order_lines_pkey PRIMARY KEY (order_id, position),
    CONSTRAINT order_lines_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders (id),
    CONSTRAINT order_lines_quantity_check CHECK (quantity > 0)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE order_lines;
DROP TABLE orders;
DROP TABLE products;
