package app

import (
	"cleave/modules/order/internal/domain"
	orderv1 "cleave/modules/order/v1"
)

func moneyMessage(m domain.Money) *orderv1.Money {
	return &orderv1.Money{MinorUnits: m.MinorUnits, CurrencyCode: m.Currency}
}

func placedEvent(o *domain.Order) *orderv1.OrderPlaced {
	e := &orderv1.OrderPlaced{OrderId: o.ID, Number: o.Number, BuyerId: o.BuyerID, Total: moneyMessage(o.Total)}
	for _, l := range o.Lines {
		e.Lines = append(e.Lines, &orderv1.OrderLine{
			ProductId: l.ProductID, Name: l.Name, Quantity: l.Quantity, UnitPrice: moneyMessage(l.UnitPrice),
		})
	}
	return e
}
