package shop

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"
)

const (
	anyCustomer = "(SELECT id FROM customers ORDER BY random() LIMIT 1)"
	anyProduct  = "(SELECT id FROM products ORDER BY random() LIMIT 1)"
)

func fillCart(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "INSERT INTO cart_items (customer_id, product_id, quantity) SELECT c.id, p.id, $1 FROM "+
		anyCustomer+" AS c, "+anyProduct+" AS p", 1+rand.IntN(3))
	return err
}

func emptyCart(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "DELETE FROM cart_items WHERE customer_id = "+anyCustomer)
	return err
}

// placeOrder is a transaction of several statements. One in six is rolled back by the customer, and some fail because a product is out of stock.
func placeOrder(ctx context.Context, conn *pgx.Conn) error {
	changedMind := errors.New("the customer changed their mind")
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var order, price int64
		if err := tx.QueryRow(ctx, "INSERT INTO orders (customer_id) VALUES ("+anyCustomer+") RETURNING id").Scan(&order); err != nil {
			return err
		}
		for range 1 + rand.IntN(2) {
			quantity := 1 + rand.IntN(2)
			var product int64
			if err := tx.QueryRow(ctx, "UPDATE products SET stock = stock - $1 WHERE id = "+anyProduct+" RETURNING id, price_cents", quantity).Scan(&product, &price); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "INSERT INTO order_lines (order_id, product_id, quantity, price_cents) VALUES ($1, $2, $3, $4)", order, product, quantity, price); err != nil {
				return err
			}
		}
		if rand.IntN(6) == 0 {
			return changedMind
		}
		_, err := tx.Exec(ctx, "UPDATE orders SET total_cents = (SELECT sum(quantity * price_cents) FROM order_lines WHERE order_id = $1) WHERE id = $1", order)
		return err
	})
	if errors.Is(err, changedMind) {
		return nil
	}
	return err
}

func shipOrder(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "UPDATE orders SET status = 'shipped' WHERE id = (SELECT min(id) FROM orders WHERE status = 'paid')")
	return err
}

func restock(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "UPDATE products SET stock = stock + 20 WHERE stock < 20")
	return err
}

func correctAddress(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "UPDATE customers SET city = $1 WHERE id = "+anyCustomer, []string{"Turin", "Oslo", "Quito", "Hanoi"}[rand.IntN(4)])
	return err
}

// cancelOrder is a transaction in which a statement is rolled back to a savepoint.
func cancelOrder(ctx context.Context, conn *pgx.Conn) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var order int64
		if err := tx.QueryRow(ctx, "SELECT id FROM orders WHERE status = 'placed' ORDER BY id DESC LIMIT 1 FOR UPDATE").Scan(&order); err != nil {
			return err
		}
		attempt, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		if _, err := attempt.Exec(ctx, "DELETE FROM order_lines WHERE order_id = $1", order); err != nil {
			return err
		}
		if err := attempt.Rollback(ctx); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE orders SET status = 'cancelled' WHERE id = $1", order)
		return err
	})
}

// payOrders sends several statements in one round trip.
func payOrders(ctx context.Context, conn *pgx.Conn) error {
	var order, total int64
	err := conn.QueryRow(ctx, "SELECT id, total_cents FROM orders WHERE status = 'placed' ORDER BY id LIMIT 1").Scan(&order, &total)
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue("INSERT INTO payments (order_id, method, amount_cents) VALUES ($1, $2, $3)", order, []string{"card", "invoice"}[rand.IntN(2)], total)
	batch.Queue("UPDATE orders SET status = 'paid' WHERE id = $1 AND status = 'placed'", order)
	return conn.SendBatch(ctx, batch).Close()
}

// importPrices is a batch: COPY of new products, and new prices for the old ones.
func importPrices(ctx context.Context, conn *pgx.Conn) error {
	var goods [][]any
	for range 10 {
		name := fmt.Sprintf("%s %s", []string{"Blue", "Small", "Heavy", "Folding"}[rand.IntN(4)], []string{"Chair", "Kettle", "Rug", "Mirror"}[rand.IntN(4)])
		goods = append(goods, []any{name, []string{"import"}, 500 + rand.IntN(9000), 30 + rand.IntN(50)})
	}
	_, err := conn.CopyFrom(ctx, pgx.Identifier{"products"}, []string{"name", "tags", "price_cents", "stock"}, pgx.CopyFromRows(goods))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "UPDATE products SET price_cents = price_cents * 101 / 100 WHERE id % 7 = $1", rand.IntN(7))
	return err
}

// alterSchema makes a random change to the schema. Columns are added without a default, which would change rows without any event.
func alterSchema(ctx context.Context, conn *pgx.Conn) error {
	var columns int
	if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attnum > 0").Scan(&columns); err != nil {
		return err
	}
	steps := []string{
		"COMMENT ON TABLE customers IS 'people who bought something'",
		"CREATE INDEX IF NOT EXISTS orders_by_status ON orders (status)",
	}
	if columns < 12 {
		steps = append(steps, fmt.Sprintf("ALTER TABLE orders ADD COLUMN remark_%d text", columns))
	}
	_, err := conn.Exec(ctx, steps[rand.IntN(len(steps))])
	return err
}
