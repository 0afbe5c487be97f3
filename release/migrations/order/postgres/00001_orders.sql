-- +goose Up
CREATE TABLE products (
    id          uuid    NOT NULL,
    sku         text    NOT NULL,
    name        text    NOT NULL,
    description text    NOT NULL,
    -- SKU and name in lower case: what the search looks through, the same on each database.
    search_text text    NOT NULL,
    price_minor bigint  NOT NULL,
    currency    text    NOT NULL,
    stock       bigint  NOT NULL,
    active      boolean NOT NULL,
    version     bigint  NOT NULL,
    created_at  bigint  NOT NULL,
    updated_at  bigint  NOT NULL,
    CONSTRAINT products_pkey PRIMARY KEY (id),
    CONSTRAINT products_sku_key UNIQUE (sku),
    CONSTRAINT products_price_check CHECK (price_minor >= 0),
    CONSTRAINT products_stock_check CHECK (stock >= 0)
);
CREATE INDEX products_newest ON products (created_at, id);

CREATE TABLE orders (
    id            uuid   NOT NULL,
    number        text   NOT NULL,
    buyer_id      uuid   NOT NULL,
    status        text   NOT NULL,
    total_minor   bigint NOT NULL,
    currency      text   NOT NULL,
    reason        text   NOT NULL,
    tracking_code text   NOT NULL,
    version       bigint NOT NULL,
    created_at    bigint NOT NULL,
    updated_at    bigint NOT NULL,
    CONSTRAINT orders_pkey PRIMARY KEY (id),
    CONSTRAINT orders_number_key UNIQUE (number),
    CONSTRAINT orders_total_check CHECK (total_minor >= 0),
    CONSTRAINT orders_status_check CHECK (status IN ('pending', 'confirmed', 'rejected', 'shipped', 'delivered', 'cancelled'))
);
CREATE INDEX orders_newest ON orders (created_at, id);
CREATE INDEX orders_of_buyer ON orders (buyer_id, created_at, id);

-- product_id has no foreign key: products are never deleted, and the key's check would lock the product's row for each order
-- of it, beside the lock that the stock takes.
CREATE TABLE order_lines (
    order_id         uuid    NOT NULL,
    position         integer NOT NULL,
    product_id       uuid    NOT NULL,
    sku              text    NOT NULL,
    name             text    NOT NULL,
    quantity         bigint  NOT NULL,
    unit_price_minor bigint  NOT NULL,
    CONSTRAINT order_lines_pkey PRIMARY KEY (order_id, position),
    CONSTRAINT order_lines_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders (id),
    CONSTRAINT order_lines_quantity_check CHECK (quantity > 0)
);

-- +goose Down
DROP TABLE order_lines;
DROP TABLE orders;
DROP TABLE products;
